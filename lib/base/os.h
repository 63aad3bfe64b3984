// What differs between operating systems: files, folders, time, randomness
// of names. Implemented in os_posix.c and os_windows.c alone.
#ifndef QN_BASE_OS_H
#define QN_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

// Seconds of a clock that never goes back.
double qn_os_seconds(void);
// Seconds from the start of this process to now.
double qn_os_process_seconds(void);

// Reads a whole file of at most `limit` bytes. The caller frees `*data`, which
// has a NUL after its end.
qn_status qn_os_read_file(const char *path, size_t limit,
                          unsigned char **data, size_t *size,
                          qn_error *error);

// One piece of a file to write.
struct qn_os_part {
    const void *data;
    size_t size;
};
// Durable replace: temporary file in the same folder, write all, fsync,
// rename, fsync the folder. On failure the old file is untouched and no
// temporary file stays.
qn_status qn_os_replace_file(const char *path, const struct qn_os_part *parts,
                             int part_count, qn_error *error);

// Makes the folder and its parents. With `private`, mode 0700 for the last.
qn_status qn_os_make_folder(const char *path, bool is_private,
                            qn_error *error);
bool qn_os_is_folder(const char *path);
bool qn_os_is_file(const char *path);
// True if the folder belongs to this user and no one else may write to it.
bool qn_os_folder_is_safe(const char *path);
qn_status qn_os_remove_file(const char *path);
// True for a symbolic link, wherever it points.
bool qn_os_is_link(const char *path);
// Calls `visit` with each name in the folder but "." and "..", in no order.
qn_status qn_os_list_folder(const char *path,
                            void (*visit)(void *user, const char *name),
                            void *user, qn_error *error);
// Bytes of a file and the time of its last change in seconds. False if it
// cannot be asked.
bool qn_os_file_info(const char *path, uint64_t *size, double *changed);
// Cuts or extends nothing but the end: for metrics.jsonl on resume.
qn_status qn_os_truncate_file(const char *path, uint64_t size,
                              qn_error *error);

// A lock among processes by means of a file, which is made if need be and
// stays. Waits at most `seconds`; -1 where it could not be had. A process that
// ends gives its locks back.
intptr_t qn_os_lock(const char *path, double seconds);
void qn_os_unlock(intptr_t lock); // -1 is ignored

// An environment variable, or NULL where it is unset, empty, or the process
// runs with raised rights.
const char *qn_os_env(const char *name);
// True if a shared library of that name or path is loaded in this process.
bool qn_os_is_library_loaded(const char *name);
// The user's cache folder for quern, e.g. ~/.cache/quern. False if none.
bool qn_os_cache_folder(char *path, size_t size);
// The user's data folder for quern, e.g. ~/.local/share/quern. False if none.
bool qn_os_data_folder(char *path, size_t size);
// The path from the root, links resolved; false where it does not exist or is
// too long.
bool qn_os_absolute(const char *path, char *absolute, size_t size);

#endif
