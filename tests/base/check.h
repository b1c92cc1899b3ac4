/* What every cmocka test program includes first, in the order cmocka needs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"

#define assert_ok(expression) assert_int_equal((expression), 0)

#if defined(__SANITIZE_ADDRESS__)
#define CHECK_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define CHECK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECK_ASAN 1
#elif __has_feature(thread_sanitizer)
#define CHECK_TSAN 1
#endif
#endif
