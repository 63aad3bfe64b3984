// Files, folders, clocks and the environment on POSIX systems. Knows nothing
// of what the files hold.
#if defined(__linux__)
#define _GNU_SOURCE // secure_getenv, CLOCK_BOOTTIME
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif // elsewhere all is visible by default

#include "base/os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/sysctl.h>
#include <sys/time.h>
#endif

static double clock_seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double qn_os_seconds(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

#if defined(__linux__)
// Field 22 of /proc/self/stat: start in clock ticks since boot. The second
// field, the command, may hold blanks and brackets; fields are counted from
// its last bracket.
static double process_start(void)
{
    char stat[1024];
    FILE *file = fopen("/proc/self/stat", "r");
    if (!file)
        return -1;
    size_t size = fread(stat, 1, sizeof stat - 1, file);
    fclose(file);
    stat[size] = 0;
    char *field = strrchr(stat, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    if (!field)
        return -1;
    return strtod(field, NULL) / (double)sysconf(_SC_CLK_TCK);
}

double qn_os_process_seconds(void)
{
    double start = process_start();
    double seconds = clock_seconds(CLOCK_BOOTTIME) - start;
    return start < 0 || seconds < 0 ? 0 : seconds;
}
#elif defined(__APPLE__)
double qn_os_process_seconds(void)
{
    int name[4] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, (int)getpid()};
    struct kinfo_proc process;
    size_t size = sizeof process;
    if (sysctl(name, 4, &process, &size, NULL, 0) != 0)
        return 0;
    struct timeval start = process.kp_proc.p_starttime;
    double seconds = clock_seconds(CLOCK_REALTIME) - (double)start.tv_sec -
                     1e-6 * (double)start.tv_usec;
    return seconds < 0 ? 0 : seconds;
}
#else
// No common way to ask: the processor time, which is never more.
double qn_os_process_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}
#endif

static qn_status fail_io(qn_error *error, const char *verb, const char *path)
{
    return qn_fail(error, QN_IO, "cannot %s %s: %s", verb, path,
                   strerror(errno));
}

// ---- reading ----

// Reads until the end or until `limit` + 1 bytes are there. The buffer doubles,
// so that a file without a known size (a pipe) works too.
static qn_status read_all(int file, const char *path, size_t limit,
                          unsigned char **data, size_t *size,
                          qn_error *error)
{
    size_t capacity = 0;
    for (;;) {
        if (*size == capacity) {
            capacity = capacity ? 2 * capacity : 65536;
            unsigned char *more = realloc(*data, capacity + 1);
            if (!more)
                return qn_fail_memory(error, capacity + 1);
            *data = more;
        }
        ssize_t got = read(file, *data + *size, capacity - *size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_io(error, "read", path);
        if (got == 0)
            break;
        *size += (size_t)got;
        if (*size > limit)
            return qn_fail(error, QN_IO, "%s has more than %zu bytes", path,
                           limit);
    }
    (*data)[*size] = 0;
    return QN_OK;
}

qn_status qn_os_read_file(const char *path, size_t limit,
                          unsigned char **data, size_t *size,
                          qn_error *error)
{
    *data = NULL;
    *size = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail_io(error, "open", path);
    qn_status status = read_all(file, path, limit, data, size, error);
    close(file);
    if (status != QN_OK) {
        free(*data);
        *data = NULL;
        *size = 0;
    }
    return status;
}

// ---- writing ----

// Opens a new file beside `path`, named by process and time. Its name goes to
// `name`, which has room for `size` bytes.
static int open_temporary(const char *path, char *name, size_t size)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        unsigned long mix = (unsigned long)now.tv_nsec * 2654435761u +
                            (unsigned long)now.tv_sec + (unsigned)attempt;
        snprintf(name, size, "%s.%ld-%lx.tmp", path, (long)getpid(),
                 mix & 0xffffffff);
        int file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST)
            return file;
    }
    return -1;
}

static bool write_all(int file, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    while (size) {
        ssize_t done = write(file, bytes, size);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            bytes += done;
            size -= (size_t)done;
        }
    }
    return true;
}

// A rename is lasting only once its folder is on disk. File systems that
// cannot sync a folder say EINVAL; nothing more can be done there.
static bool sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    char *folder = malloc(length + 2);
    if (!folder)
        return false;
    memcpy(folder, path, length);
    strcpy(folder + length, slash == path ? "/" : slash ? "" : ".");
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (file < 0)
        return false;
    bool done = fsync(file) == 0 || errno == EINVAL || errno == EROFS;
    close(file);
    return done;
}

qn_status qn_os_replace_file(const char *path, const struct qn_os_part *parts,
                             int part_count, qn_error *error)
{
    size_t name_size = strlen(path) + 48;
    char *name = malloc(name_size);
    if (!name)
        return qn_fail_memory(error, name_size);
    qn_status status = QN_OK;
    int file = open_temporary(path, name, name_size);
    if (file < 0) {
        status = fail_io(error, "create a file beside", path);
        goto done;
    }
    bool written = true;
    for (int i = 0; i < part_count && written; i++)
        written = write_all(file, parts[i].data, parts[i].size);
    if (!written || fsync(file) != 0)
        status = fail_io(error, "write", path);
    if (close(file) != 0 && status == QN_OK)
        status = fail_io(error, "write", path);
    if (status == QN_OK && rename(name, path) != 0)
        status = fail_io(error, "replace", path);
    if (status != QN_OK)
        unlink(name);
    else if (!sync_folder_of(path))
        status = fail_io(error, "sync the folder of", path);
done:
    free(name);
    return status;
}

qn_status qn_os_remove_file(const char *path)
{
    return unlink(path) == 0 ? QN_OK : QN_IO;
}

qn_status qn_os_truncate_file(const char *path, uint64_t size,
                              qn_error *error)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return fail_io(error, "open", path);
    qn_status status = QN_OK;
    if (ftruncate(file, (off_t)size) != 0 || fsync(file) != 0)
        status = fail_io(error, "cut", path);
    close(file);
    return status;
}

// ---- locks ----

// Polls, since a wait without an end could meet a process that is stopped.
intptr_t qn_os_lock(const char *path, double seconds)
{
    double start = qn_os_seconds();
    int file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return -1;
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        const struct timespec pause = {.tv_nsec = 5000000};
        if ((errno != EWOULDBLOCK && errno != EINTR) ||
            qn_os_seconds() - start > seconds) {
            close(file);
            return -1;
        }
        nanosleep(&pause, NULL);
    }
    return file;
}

void qn_os_unlock(intptr_t lock)
{
    if (lock >= 0)
        close((int)lock);
}

// ---- folders ----

qn_status qn_os_make_folder(const char *path, bool is_private,
                            qn_error *error)
{
    size_t length = strlen(path);
    char *part = malloc(length + 1);
    if (!part)
        return qn_fail_memory(error, length + 1);
    memcpy(part, path, length + 1);
    while (length > 1 && part[length - 1] == '/')
        part[--length] = 0;
    bool made = true;
    for (char *at = part + 1; made && *at; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        made = mkdir(part, 0777) == 0 || qn_os_is_folder(part);
        *at = '/';
    }
    made = made && (mkdir(part, is_private ? 0700 : 0777) == 0 ||
                    qn_os_is_folder(part));
    free(part);
    return made ? QN_OK : fail_io(error, "make the folder", path);
}

bool qn_os_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool qn_os_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool qn_os_is_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

bool qn_os_file_info(const char *path, uint64_t *size, double *changed)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    *size = (uint64_t)info.st_size;
    *changed = (double)info.st_mtime;
    return true;
}

qn_status qn_os_list_folder(const char *path,
                            void (*visit)(void *user, const char *name),
                            void *user, qn_error *error)
{
    DIR *folder = opendir(path);
    if (!folder)
        return fail_io(error, "open the folder", path);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0)
            visit(user, entry->d_name);
    closedir(folder);
    return QN_OK;
}

// The folder itself, not what a link in its place points to.
bool qn_os_folder_is_safe(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode) &&
           info.st_uid == geteuid() &&
           (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// ---- environment ----

static bool has_raised_rights(void)
{
    return getuid() != geteuid() || getgid() != getegid();
}

const char *qn_os_env(const char *name)
{
#if defined(__linux__) && defined(__GLIBC__)
    const char *value = secure_getenv(name);
#else
    const char *value = getenv(name);
#endif
    return value && *value && !has_raised_rights() ? value : NULL;
}

bool qn_os_is_library_loaded(const char *name)
{
#if defined(RTLD_NOLOAD)
    void *library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (library)
        dlclose(library);
    return library != NULL;
#else
    (void)name;
    return true; // cannot be asked here
#endif
}

bool qn_os_cache_folder(char *path, size_t size)
{
    const char *base = qn_os_env("XDG_CACHE_HOME");
    const char *home = qn_os_env("HOME");
    int length = -1;
    if (base && *base == '/')
        length = snprintf(path, size, "%s/quern", base);
#if defined(__APPLE__)
    else if (home)
        length = snprintf(path, size, "%s/Library/Caches/quern", home);
#else
    else if (home)
        length = snprintf(path, size, "%s/.cache/quern", home);
#endif
    return length > 0 && (size_t)length < size;
}

bool qn_os_data_folder(char *path, size_t size)
{
    const char *base = qn_os_env("XDG_DATA_HOME");
    const char *home = qn_os_env("HOME");
    int length = -1;
    if (base && *base == '/')
        length = snprintf(path, size, "%s/quern", base);
#if defined(__APPLE__)
    else if (home)
        length = snprintf(path, size, "%s/Library/Application Support/quern",
                          home);
#else
    else if (home)
        length = snprintf(path, size, "%s/.local/share/quern", home);
#endif
    return length > 0 && (size_t)length < size;
}

bool qn_os_absolute(const char *path, char *absolute, size_t size)
{
    char *whole = realpath(path, NULL);
    bool fits = whole && strlen(whole) < size;
    if (fits)
        memcpy(absolute, whole, strlen(whole) + 1);
    free(whole);
    return fits;
}
