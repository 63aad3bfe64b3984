// Files, folders, clocks and the environment on Windows. Knows nothing of what
// the files hold.
//
// Paths are in the process's active code page throughout, as `main` and
// `getenv` give them; a program whose manifest asks for UTF-8 has UTF-8 paths.
#define WIN32_LEAN_AND_MEAN
#define _CRT_SECURE_NO_WARNINGS
#include <windows.h>
#include <aclapi.h>

#include "base/os.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double qn_os_seconds(void)
{
    LARGE_INTEGER count, frequency;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    return (double)count.QuadPart / (double)frequency.QuadPart;
}

// File times count 100 ns.
static double seconds_of(FILETIME time)
{
    ULARGE_INTEGER ticks;
    ticks.LowPart = time.dwLowDateTime;
    ticks.HighPart = time.dwHighDateTime;
    return 1e-7 * (double)ticks.QuadPart;
}

double qn_os_process_seconds(void)
{
    FILETIME start, end, kernel, user, now;
    if (!GetProcessTimes(GetCurrentProcess(), &start, &end, &kernel, &user))
        return 0;
    GetSystemTimeAsFileTime(&now);
    double seconds = seconds_of(now) - seconds_of(start);
    return seconds < 0 ? 0 : seconds;
}

static qn_status fail_io(qn_error *error, const char *verb, const char *path)
{
    char text[256];
    DWORD code = GetLastError();
    DWORD length = FormatMessageA(
        FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, code,
        0, text, sizeof text, NULL);
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r' ||
                      text[length - 1] == '.'))
        length--;
    return qn_fail(error, QN_IO, "cannot %s %s: %.*s (%lu)", verb, path,
                   (int)length, text, (unsigned long)code);
}

// ---- reading ----

static qn_status read_all(HANDLE file, const char *path, size_t limit,
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
        size_t room = capacity - *size;
        DWORD got = 0;
        if (!ReadFile(file, *data + *size,
                      room < INT_MAX ? (DWORD)room : INT_MAX, &got, NULL))
            return fail_io(error, "read", path);
        if (got == 0)
            break;
        *size += got;
        if (*size > limit)
            return qn_fail(error, QN_IO, "%s has more than %llu bytes", path,
                           (unsigned long long)limit);
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
    // Sharing all rights lets another process replace the file meanwhile.
    HANDLE file = CreateFileA(
        path, GENERIC_READ,
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
        OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return fail_io(error, "open", path);
    qn_status status = read_all(file, path, limit, data, size, error);
    CloseHandle(file);
    if (status != QN_OK) {
        free(*data);
        *data = NULL;
        *size = 0;
    }
    return status;
}

// ---- writing ----

static HANDLE open_temporary(const char *path, char *name, size_t size)
{
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        LARGE_INTEGER count;
        QueryPerformanceCounter(&count);
        snprintf(name, size, "%s.%lu-%llx.tmp", path,
                 (unsigned long)GetCurrentProcessId(),
                 (unsigned long long)count.QuadPart + attempt);
        HANDLE file = CreateFileA(name, GENERIC_WRITE, 0, NULL, CREATE_NEW,
                                  FILE_ATTRIBUTE_NORMAL, NULL);
        if (file != INVALID_HANDLE_VALUE ||
            GetLastError() != ERROR_FILE_EXISTS)
            return file;
    }
    return INVALID_HANDLE_VALUE;
}

static BOOL write_all(HANDLE file, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    while (size) {
        DWORD part = size < INT_MAX ? (DWORD)size : INT_MAX, done = 0;
        if (!WriteFile(file, bytes, part, &done, NULL))
            return FALSE;
        bytes += done;
        size -= done;
    }
    return TRUE;
}

qn_status qn_os_replace_file(const char *path, const struct qn_os_part *parts,
                             int part_count, qn_error *error)
{
    size_t name_size = strlen(path) + 64;
    char *name = malloc(name_size);
    if (!name)
        return qn_fail_memory(error, name_size);
    qn_status status = QN_OK;
    HANDLE file = open_temporary(path, name, name_size);
    if (file == INVALID_HANDLE_VALUE) {
        status = fail_io(error, "create a file beside", path);
        goto done;
    }
    BOOL written = TRUE;
    for (int i = 0; i < part_count && written; i++)
        written = write_all(file, parts[i].data, parts[i].size);
    if (!written || !FlushFileBuffers(file))
        status = fail_io(error, "write", path);
    CloseHandle(file);
    // Writing through makes the rename itself lasting.
    if (status == QN_OK &&
        !MoveFileExA(name, path,
                     MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
        status = fail_io(error, "replace", path);
    if (status != QN_OK)
        DeleteFileA(name);
done:
    free(name);
    return status;
}

qn_status qn_os_remove_file(const char *path)
{
    return DeleteFileA(path) ? QN_OK : QN_IO;
}

qn_status qn_os_truncate_file(const char *path, uint64_t size,
                              qn_error *error)
{
    HANDLE file = CreateFileA(path, GENERIC_WRITE, FILE_SHARE_READ, NULL,
                              OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return fail_io(error, "open", path);
    LARGE_INTEGER end;
    end.QuadPart = (LONGLONG)size;
    qn_status status = QN_OK;
    if (!SetFilePointerEx(file, end, NULL, FILE_BEGIN) ||
        !SetEndOfFile(file) || !FlushFileBuffers(file))
        status = fail_io(error, "cut", path);
    CloseHandle(file);
    return status;
}

// ---- locks ----

intptr_t qn_os_lock(const char *path, double seconds)
{
    double start = qn_os_seconds();
    OVERLAPPED place = {0};
    HANDLE file = CreateFileA(path, GENERIC_READ | GENERIC_WRITE,
                              FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                              OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return -1;
    while (!LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK |
                                 LOCKFILE_FAIL_IMMEDIATELY,
                       0, 1, 0, &place)) {
        if (qn_os_seconds() - start > seconds) {
            CloseHandle(file);
            return -1;
        }
        Sleep(5);
    }
    return (intptr_t)file;
}

void qn_os_unlock(intptr_t lock)
{
    if (lock != -1)
        CloseHandle((HANDLE)lock);
}

// ---- folders ----

static BOOL make_one(const char *path)
{
    return CreateDirectoryA(path, NULL) || qn_os_is_folder(path);
}

// Private folders need no mode here: they lie in the user's profile, which
// others cannot enter, and inherit its rights.
qn_status qn_os_make_folder(const char *path, bool is_private,
                            qn_error *error)
{
    (void)is_private;
    size_t length = strlen(path);
    char *part = malloc(length + 1);
    if (!part)
        return qn_fail_memory(error, length + 1);
    memcpy(part, path, length + 1);
    for (char *at = part + 1; *at; at++) {
        if ((*at != '/' && *at != '\\') || at[-1] == ':')
            continue;
        char slash = *at;
        *at = 0;
        CreateDirectoryA(part, NULL); // a failure shows at the last part
        *at = slash;
    }
    qn_status status = make_one(part)
                           ? QN_OK
                           : fail_io(error, "make the folder", path);
    free(part);
    return status;
}

bool qn_os_is_folder(const char *path)
{
    DWORD attributes = GetFileAttributesA(path);
    return attributes != INVALID_FILE_ATTRIBUTES &&
           (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

bool qn_os_is_file(const char *path)
{
    DWORD attributes = GetFileAttributesA(path);
    return attributes != INVALID_FILE_ATTRIBUTES &&
           (attributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_DEVICE)) ==
               0;
}

bool qn_os_is_link(const char *path)
{
    DWORD attributes = GetFileAttributesA(path);
    return attributes != INVALID_FILE_ATTRIBUTES &&
           (attributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0;
}

bool qn_os_file_info(const char *path, uint64_t *size, double *changed)
{
    WIN32_FILE_ATTRIBUTE_DATA info;
    if (!GetFileAttributesExA(path, GetFileExInfoStandard, &info))
        return false;
    *size = (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow;
    *changed = seconds_of(info.ftLastWriteTime);
    return true;
}

qn_status qn_os_list_folder(const char *path,
                            void (*visit)(void *user, const char *name),
                            void *user, qn_error *error)
{
    WIN32_FIND_DATAA entry;
    size_t size = strlen(path) + 3;
    char *pattern = malloc(size);
    if (!pattern)
        return qn_fail_memory(error, size);
    snprintf(pattern, size, "%s\\*", path);
    HANDLE folder = FindFirstFileA(pattern, &entry);
    free(pattern);
    if (folder == INVALID_HANDLE_VALUE)
        return fail_io(error, "open the folder", path);
    do {
        if (strcmp(entry.cFileName, ".") != 0 &&
            strcmp(entry.cFileName, "..") != 0)
            visit(user, entry.cFileName);
    } while (FindNextFileA(folder, &entry));
    FindClose(folder);
    return QN_OK;
}

// True if `owner` is this process's user, or the owner that its new files get,
// which for an administrator is a group.
static bool is_ours(PSID owner)
{
    static const TOKEN_INFORMATION_CLASS classes[] = {TokenUser, TokenOwner};
    bool found = false;
    HANDLE token;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
        return false;
    for (int i = 0; i < 2 && !found; i++) {
        union {
            TOKEN_USER user;
            TOKEN_OWNER owner;
            unsigned char bytes[512];
        } info;
        DWORD size;
        if (!GetTokenInformation(token, classes[i], &info, sizeof info, &size))
            continue;
        found = EqualSid(owner, classes[i] == TokenUser ? info.user.User.Sid
                                                        : info.owner.Owner);
    }
    CloseHandle(token);
    return found;
}

// Rights are inherited from the user's profile; what is checked is that nobody
// else made the folder and that it is no link.
bool qn_os_folder_is_safe(const char *path)
{
    PSID owner = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    if (!qn_os_is_folder(path) || qn_os_is_link(path) ||
        GetNamedSecurityInfoA((char *)path, SE_FILE_OBJECT,
                              OWNER_SECURITY_INFORMATION, &owner, NULL, NULL,
                              NULL, &descriptor) != ERROR_SUCCESS)
        return false;
    bool is_safe = is_ours(owner);
    LocalFree(descriptor);
    return is_safe;
}

// ---- environment ----

const char *qn_os_env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

bool qn_os_is_library_loaded(const char *name)
{
    return GetModuleHandleA(name) != NULL;
}

bool qn_os_cache_folder(char *path, size_t size)
{
    const char *base = qn_os_env("LOCALAPPDATA");
    int length = base ? snprintf(path, size, "%s\\quern\\cache", base) : -1;
    return length > 0 && (size_t)length < size;
}
