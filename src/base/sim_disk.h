/* A disk in memory that remembers what was synced.
 *
 * Behind `struct disk` is a small POSIX file system: directories, hard links, symbolic links, xattrs, sparse files,
 * open unlinked files. Effects become durable by disk_sync() of the file or directory they belong to. At a power cut
 * each unsynced effect is kept or lost, chosen by the seed, in an order a journalling file system can produce: metadata
 * operations are kept as a prefix of their order, unsynced data pages independently of it.
 *
 * disk_sync() makes durable the object's data and its latest metadata change with all earlier ones, of whatever object;
 * with data_only, its latest change of size, allocation or existence. The journal commits its oldest part by itself
 * when it grows (thousands of changes). A lost page has its former contents, or zeros where there was a hole.
 *
 * Paths start at "/" (also AT_FDCWD), an empty directory at first. The caller has every capability and umask 0. Default
 * ACLs are stored but not inherited. One simulated disk may be used from several threads.
 */
#pragma once

#include "base/disk.h"

struct sim_disk;

/* CAPACITY_BYTES is what files, directories and xattrs may take together; beyond it calls answer -ENOSPC. */
int sim_disk_new(uint64_t seed, uint64_t capacity_bytes, struct sim_disk **ret);
/* ORDERED: a file's new size is not durable before the data that it covers, as with XFS, and ext4 unless mounted otherwise.
 * At first it is not so. */
void sim_disk_set_ordered(struct sim_disk *d, bool ordered);
/* The table to hand to the code under test. Owned by the sim_disk; disk_free() on it does nothing. */
struct disk *sim_disk_ops(struct sim_disk *d);
struct sim_disk *sim_disk_free(struct sim_disk *d);
DEFINE_CLEANUP(struct sim_disk *, sim_disk_free)

/* Effects = calls that change something, disk_sync() among them; a call refused by its checks is none. Counted from 1
 * since the last sim_disk_faults_clear(). */
uint64_t sim_disk_effects(const struct sim_disk *d);
/* The Nth effect from now fails with ERROR (positive errno) and does nothing. */
void sim_disk_fail_nth(struct sim_disk *d, uint64_t n, int error);
/* The Nth effect from now is done, and then the node is gone: every later call answers -EIO until the power cut or the
 * process crash. */
void sim_disk_stop_after(struct sim_disk *d, uint64_t n);
/* True until sim_disk_faults_clear(). */
bool sim_disk_fault_fired(const struct sim_disk *d);
void sim_disk_faults_clear(struct sim_disk *d);

/* Power is cut: open descriptors are gone; unsynced effects are kept or lost. Afterwards the disk can be used again,
 * all that is on it is durable, and faults that have not fired are disarmed. */
void sim_disk_power_cut(struct sim_disk *d);
/* A process crash: descriptors are gone, all effects stay, durable or not. Disarms faults. */
void sim_disk_process_crash(struct sim_disk *d);

/* Descriptors still open: a leak check. */
unsigned sim_disk_open_count(const struct sim_disk *d);
