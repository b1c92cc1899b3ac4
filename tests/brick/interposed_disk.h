/* The kernel's disk with one thing that happens in the middle: what another client does between two system calls of an
 * operation under test.
 *
 *      interpose(h, AT_STAT, "/x", AFTER, change, &args);      once, at the first stat of a path that ends so
 *      ... the operation ...
 *      assert_true(interpose_end(h));                          it did happen, and is over
 *
 * CHANGE runs on a thread of its own, as another client's request would. The operation goes on when it is done, or after
 * a moment when it has to wait for a lock that the operation holds; interpose_end() waits for it in any case.
 */
#pragma once

#include "harness.h"

enum interposed_call { AT_OPEN, AT_STAT, AT_GETXATTR, AT_LISTXATTR, AT_UNLINK, AT_LINK, AT_RENAME, AT_SETXATTR };
enum interposed_when { BEFORE, AFTER };

void interpose(struct harness *h, enum interposed_call call, const char *path_end, enum interposed_when when,
               void (*change)(void *arg), void *arg);
bool interpose_end(struct harness *h);
