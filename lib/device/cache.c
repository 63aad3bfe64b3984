// The disk cache of program binaries: one file an entry, named by the SHA-256
// of its key. Knows nothing of programs; to it a binary is bytes.
//
// A driver given a damaged binary does not report it, it crashes. So an entry
// carries its whole key and a digest, and counts only if both are right to the
// last byte. Anything else is a miss, and the entry goes.
//
//   magic[8] version:u32 key_size:u32 payload_size:u64 digest[32] key payload
//
// Numbers are little-endian. The digest is that of all but itself.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/os.h"
#include "device/state.h"

enum {
    FORMAT = 1,
    HEAD_SIZE = 56,
    DIGEST_AT = 24,
    LARGEST_ENTRY = 64 << 20,
    LARGEST_FOLDER = 512 << 20,
    LONGEST_PATH = 4096,
};
static const char magic[8] = "QNPROG\r\n";
static const char suffix[] = ".qnp";

bool qn_cache_is_useful(const qn_device_info *info)
{
    // NVIDIA's driver keeps a cache of machine code, of which a program binary
    // (PTX) is only the input. An emulator compiles in no time.
    return !strstr(info->platform, "NVIDIA") &&
           info->type != QN_DEVICE_EMULATOR;
}

qn_status qn_cache_open(qn_device *device, const char *folder, qn_error *error)
{
    qn_error detail = {0};
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--; // a link counts as a link with a slash behind it too
    char *copy = calloc(1, length + 1);
    if (!copy)
        return qn_fail_memory(error, length + 1);
    memcpy(copy, folder, length);
    if (qn_os_make_folder(copy, true, &detail) != QN_OK) {
        qn_log_write(&device->log, QN_LOG_WARNING,
                     "compiled kernels are not kept: %s", detail.text);
    } else if (!qn_os_folder_is_safe(copy)) {
        qn_log_write(&device->log, QN_LOG_WARNING,
                     "compiled kernels are not kept: %s is a link, belongs to "
                     "someone else or lets others write",
                     copy);
    } else {
        device->cache_dir = copy;
        return QN_OK;
    }
    free(copy);
    return QN_OK;
}

void qn_cache_key(const qn_device *device, const char *source,
                  const char *options, struct qn_text *key)
{
    const qn_device_info *info = &device->info;
    struct qn_sha256 hash;
    unsigned char digest[32];
    char hex[65];
    cl_uint address_bits = 0, vendor = 0;
    clGetDeviceInfo(device->id, CL_DEVICE_ADDRESS_BITS, sizeof address_bits,
                    &address_bits, NULL);
    clGetDeviceInfo(device->id, CL_DEVICE_VENDOR_ID, sizeof vendor, &vendor,
                    NULL);
    qn_sha256_init(&hash);
    qn_sha256_add_string(&hash, source);
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, hex);
    qn_text_add(key,
                "format %d\nlibrary %s\nsource %s\noptions %s\nplatform %s\n"
                "platform version %s\ndevice %s\nvendor %s %u\ndriver %s\n"
                "device version %s\naddress bits %u\ncompute units %u\n",
                FORMAT, QN_VERSION_TEXT, hex, options, info->platform,
                info->platform_version, info->name, info->vendor,
                (unsigned)vendor, info->driver, info->version,
                (unsigned)address_bits, (unsigned)info->compute_units);
}

static bool entry_path(const qn_device *device, const struct qn_text *key,
                       char path[LONGEST_PATH])
{
    struct qn_sha256 hash;
    unsigned char digest[32];
    char hex[65];
    qn_sha256_init(&hash);
    qn_sha256_add(&hash, key->data, key->length);
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, hex);
    int length = snprintf(path, LONGEST_PATH, "%s/%s%s", device->cache_dir,
                          hex, suffix);
    return length > 0 && length < LONGEST_PATH;
}

static void put_number(unsigned char *at, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static void digest_of(const unsigned char *head, const struct qn_text *key,
                      const unsigned char *data, size_t size,
                      unsigned char digest[32])
{
    struct qn_sha256 hash;
    qn_sha256_init(&hash);
    qn_sha256_add(&hash, head, DIGEST_AT);
    qn_sha256_add(&hash, key->data, key->length);
    qn_sha256_add(&hash, data, size);
    qn_sha256_finish(&hash, digest);
}

// The head that an entry of this key and payload must have.
static void make_head(const struct qn_text *key, const unsigned char *data,
                      size_t size, unsigned char head[HEAD_SIZE])
{
    memcpy(head, magic, sizeof magic);
    put_number(head + 8, FORMAT, 4);
    put_number(head + 12, key->length, 4);
    put_number(head + 16, size, 8);
    digest_of(head, key, data, size, head + DIGEST_AT);
}

// The payload's size follows from the file's, the key is known: so there is
// just one right head and one right key to compare with.
static bool is_right(const struct qn_text *key, const unsigned char *entry,
                     size_t size)
{
    unsigned char head[HEAD_SIZE];
    size_t start = HEAD_SIZE + key->length;
    if (size <= start || memcmp(entry + HEAD_SIZE, key->data, key->length))
        return false;
    make_head(key, entry + start, size - start, head);
    return memcmp(entry, head, sizeof head) == 0;
}

bool qn_cache_load(qn_device *device, const struct qn_text *key,
                   unsigned char **data, size_t *size)
{
    char path[LONGEST_PATH];
    if (!entry_path(device, key, path))
        return false;
    bool is_link = qn_os_is_link(path);
    if (!is_link && !qn_os_is_file(path))
        return false;
    *data = NULL;
    if (is_link ||
        qn_os_read_file(path, LARGEST_ENTRY, data, size, NULL) != QN_OK ||
        !is_right(key, *data, *size)) {
        qn_log_write(&device->log, QN_LOG_INFO,
                     "a damaged entry of the program cache is dropped: %s",
                     path);
        free(*data);
        qn_os_remove_file(path);
        return false;
    }
    size_t start = HEAD_SIZE + key->length;
    *size -= start;
    memmove(*data, *data + start, *size);
    return true;
}

void qn_cache_remove(qn_device *device, const struct qn_text *key)
{
    char path[LONGEST_PATH];
    if (entry_path(device, key, path))
        qn_os_remove_file(path);
}

intptr_t qn_cache_lock(const qn_device *device)
{
    static const double longest_wait = 30;
    char path[LONGEST_PATH];
    if (!device->cache_dir)
        return -1;
    int length = snprintf(path, sizeof path, "%s/lock", device->cache_dir);
    return length < LONGEST_PATH ? qn_os_lock(path, longest_wait) : -1;
}

// ---- size of the folder ----

struct survey {
    const char *folder;
    uint64_t total;
    double oldest_time;
    uint64_t oldest_size;
    char oldest[LONGEST_PATH];
};

static void visit_entry(void *user, const char *name)
{
    struct survey *survey = user;
    char path[LONGEST_PATH];
    const char *end = strrchr(name, '.');
    uint64_t size;
    double changed;
    if (!end || strcmp(end, suffix) != 0)
        return;
    int length = snprintf(path, sizeof path, "%s/%s", survey->folder, name);
    if (length >= (int)sizeof path || !qn_os_file_info(path, &size, &changed))
        return;
    survey->total += size;
    if (!*survey->oldest || changed < survey->oldest_time) {
        survey->oldest_time = changed;
        survey->oldest_size = size;
        memcpy(survey->oldest, path, (size_t)length + 1);
    }
}

// Drops the oldest entries while the folder is too large.
static void limit_folder(const qn_device *device)
{
    for (int round = 0; round < 1000; round++) {
        struct survey survey = {.folder = device->cache_dir};
        if (qn_os_list_folder(device->cache_dir, visit_entry, &survey, NULL) !=
                QN_OK ||
            survey.total <= LARGEST_FOLDER ||
            qn_os_remove_file(survey.oldest) != QN_OK)
            return;
    }
}

void qn_cache_store(qn_device *device, const struct qn_text *key,
                    const unsigned char *data, size_t size)
{
    char path[LONGEST_PATH];
    unsigned char head[HEAD_SIZE];
    qn_error error = {0};
    if (size == 0 || size > LARGEST_ENTRY - HEAD_SIZE - key->length ||
        !entry_path(device, key, path))
        return;
    make_head(key, data, size, head);
    const struct qn_os_part parts[] = {
        {head, sizeof head}, {key->data, key->length}, {data, size}};
    if (qn_os_replace_file(path, parts, 3, &error) != QN_OK)
        qn_log_write(&device->log, QN_LOG_INFO,
                     "a compiled kernel is not kept: %s", error.text);
    else
        limit_folder(device);
}
