/* The weak checksum of RCHECKSUM (spec: brick.md §8.18). */
#pragma once

#include "base/util.h"

/* Adler-32 that starts at 0 instead of 1. */
uint32_t checksum_weak(const uint8_t *data, size_t n);
