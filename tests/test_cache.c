// The disk cache of programs: that it is used, and that no damage to it ever
// shows in a result.
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "device/state.h"
#include "qn_check.h"

enum { PROGRAMS = 3, PROCESSES = 8 };

static char self[4096];

// ---- programs whose results tell them apart ----

// Opens a device with its cache in `folder`.
static qn_device *open_in(const char *folder)
{
    qn_error error = {0};
    struct qn_device_params params = {.cache_dir = folder};
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    return device;
}

static struct qn_command *make_command(qn_device *device, int number,
                                       struct qn_buffer *buffer)
{
    static const char text[] =
        "kernel void mark(global int *x, const int add)\n"
        "{\n"
        "    x[0] = 1000 * NUMBER + add;\n"
        "}\n";
    qn_error error = {0};
    struct qn_command *command;
    struct qn_work work = {0};
    struct qn_launch *launch = qn_work_add(&work, NULL, "mark", QN_FLOAT32);
    launch->text = text;
    qn_launch_define(launch, "NUMBER", number);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_int(launch, 7);
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
    const struct qn_binding binding = {QN_OPERAND_OUT, buffer, -1};
    ck_assert_ok(qn_command_create(device, launch, &binding, 1, 0, &command,
                                   &error), error);
    qn_work_finish(&work);
    return command;
}

// Builds or loads program `number`, runs it and checks what it did.
static void run_program(qn_device *device, int number)
{
    int got = -1;
    qn_error error = {0};
    struct qn_buffer *buffer;
    ck_assert_ok(qn_buffer_create(device, 4, "x", &buffer, &error), error);
    struct qn_command *command = make_command(device, number, buffer);
    ck_assert_ok(qn_command_run(command, NULL, &error), error);
    ck_assert_ok(qn_buffer_read(buffer, 0, &got, 4, &error), error);
    ck_assert_int_eq(got, 1000 * number + 7);
    qn_command_destroy(&command);
    qn_buffer_destroy(&buffer);
}

// Runs program `number` on a fresh device; returns whether it came from the
// cache.
static bool run_afresh(const char *folder, int number)
{
    int built, cached;
    qn_device *device = open_in(folder);
    run_program(device, number);
    qn_device_program_count(device, &built, &cached);
    ck_assert_int_eq(built, 1);
    qn_device_close(&device);
    return cached == 1;
}

// ---- entries ----

struct entries {
    const char *folder;
    char path[64][512];
    int count;
};

static void add_entry(void *user, const char *name)
{
    struct entries *entries = user;
    if (strcmp(name, "lock") == 0)
        return;
    ck_assert_int_lt(entries->count, 64);
    snprintf(entries->path[entries->count++], sizeof *entries->path, "%s/%s",
             entries->folder, name);
}

static struct entries list_entries(const char *folder)
{
    struct entries entries = {.folder = folder};
    qn_error error = {0};
    ck_assert_ok(qn_os_list_folder(folder, add_entry, &entries, &error),
                 error);
    return entries;
}

static const char *new_folder(const char *name)
{
    static char path[192];
    snprintf(path, sizeof path, "%s/%s", qn_check_folder(), name);
    return path;
}

struct bytes {
    unsigned char *data;
    size_t size;
};

static struct bytes read_bytes(const char *path)
{
    struct bytes bytes;
    qn_error error = {0};
    ck_assert_ok(qn_os_read_file(path, 64 << 20, &bytes.data, &bytes.size,
                                 &error), error);
    return bytes;
}

static void write_bytes(const char *path, const unsigned char *data,
                        size_t size)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    fclose(file);
}

START_TEST(second_process_loads_what_the_first_built)
{
    const char *folder = new_folder("used");
    qn_device *device = open_in(folder);
    int built, cached;
    for (int i = 1; i <= PROGRAMS; i++)
        run_program(device, i);
    run_program(device, 1);
    qn_device_program_count(device, &built, &cached);
    ck_assert_int_eq(built, PROGRAMS);
    ck_assert_int_eq(cached, 0);
    qn_device_flush_cache(device);
    ck_assert_int_eq(list_entries(folder).count, PROGRAMS);
    qn_device_close(&device);

    device = open_in(folder);
    for (int i = 1; i <= PROGRAMS; i++)
        run_program(device, i);
    qn_device_program_count(device, &built, &cached);
    ck_assert_int_eq(built, PROGRAMS);
    ck_assert_int_eq(cached, PROGRAMS);
    qn_device_close(&device);
    ck_assert_int_eq(list_entries(folder).count, PROGRAMS);
    ck_assert(!run_afresh(folder, PROGRAMS + 1));
}
END_TEST

START_TEST(program_that_never_ran_is_not_kept)
{
    const char *folder = new_folder("unused");
    qn_error error = {0};
    struct qn_buffer *buffer;
    qn_device *device = open_in(folder);
    ck_assert_ok(qn_buffer_create(device, 4, "x", &buffer, &error), error);
    struct qn_command *command = make_command(device, 1, buffer);
    qn_command_destroy(&command);
    qn_buffer_destroy(&buffer);
    qn_device_close(&device);
    ck_assert_int_eq(list_entries(folder).count, 0);
}
END_TEST

// ---- damage ----

struct damage {
    const char *path;
    struct bytes good;
    struct bytes other; // a right entry of another program
    struct qn_check_rng rng;
};

static size_t random_size(struct damage *damage, size_t end)
{
    return (size_t)qn_check_integer(&damage->rng, 0, (int64_t)end - 1);
}

// Leaves a damaged entry, each round in another way.
static void damage_entry(struct damage *damage, int round)
{
    size_t size = damage->good.size;
    unsigned char *copy = malloc(size + 64);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, damage->good.data, size);
    memset(copy + size, 0, 64);
    if (round % 8 < 4) // a bit, half of the time within head and key
        copy[random_size(damage, round % 2 ? size : 600)] ^=
            (unsigned char)(1 << random_size(damage, 8));
    else if (round % 8 == 4) // cut
        size = random_size(damage, size);
    else if (round % 8 == 5) // longer
        size += 1 + random_size(damage, 64);
    else if (round % 8 == 6) // a hole of zeros, as after a crash
        memset(copy + random_size(damage, size - 512) / 512 * 512, 0, 512);
    else // 16 bytes of noise
        for (size_t i = 0, at = random_size(damage, size - 16); i < 16; i++)
            copy[at + i] ^= (unsigned char)(1 + random_size(damage, 255));
    if (size == damage->good.size && !memcmp(copy, damage->good.data, size))
        copy[0] ^= 1; // the hole met zeros
    write_bytes(damage->path, copy, size);
    free(copy);
}

// Damage of a kind of its own.
static void damage_specially(struct damage *damage, int kind)
{
    char target[600];
    unlink(damage->path);
    switch (kind) {
    case 0:
        write_bytes(damage->path, damage->good.data, 0);
        break;
    case 1: // right in itself, but of another program
        write_bytes(damage->path, damage->other.data, damage->other.size);
        break;
    case 2:
        ck_assert_int_eq(symlink("/nowhere", damage->path), 0);
        break;
    case 3: // to a right entry: still no file of ours
        snprintf(target, sizeof target, "%s.target", damage->path);
        write_bytes(target, damage->good.data, damage->good.size);
        ck_assert_int_eq(symlink(target, damage->path), 0);
        break;
    case 4:
        ck_assert_int_eq(mkfifo(damage->path, 0600), 0);
        break;
    default:
        ck_assert_int_eq(mkdir(damage->path, 0700), 0);
    }
}
enum { SPECIAL_KINDS = 6, ROUNDS = 204 };

START_TEST(damaged_entries_are_misses_and_are_replaced)
{
    const char *folder = new_folder("damaged");
    run_afresh(folder, 1);
    struct entries entries = list_entries(folder);
    ck_assert_int_eq(entries.count, 1);
    run_afresh(folder, 2);
    struct entries both = list_entries(folder);
    ck_assert_int_eq(both.count, 2);
    bool is_first = strcmp(both.path[0], entries.path[0]) == 0;
    struct damage damage = {
        .path = entries.path[0],
        .good = read_bytes(entries.path[0]),
        .other = read_bytes(both.path[is_first]),
        .rng = {12},
    };
    ck_assert(run_afresh(folder, 1));
    for (int round = 0; round < ROUNDS + SPECIAL_KINDS; round++) {
        if (round < ROUNDS)
            damage_entry(&damage, round);
        else
            damage_specially(&damage, round - ROUNDS);
        ck_assert_msg(!run_afresh(folder, 1), "round %d was a hit", round);
        if (round + 1 == ROUNDS + SPECIAL_KINDS)
            break; // nothing can take a folder's place
        if (round % 20 == 0 || round >= ROUNDS)
            ck_assert_msg(run_afresh(folder, 1), "round %d: not replaced",
                          round);
    }
    ck_assert(!run_afresh(folder, 1));
    ck_assert_int_eq(rmdir(damage.path), 0);
    free(damage.good.data);
    free(damage.other.data);
}
END_TEST

START_TEST(unreadable_entry_is_a_miss)
{
    const char *folder = new_folder("unreadable");
    run_afresh(folder, 1);
    struct entries entries = list_entries(folder);
    ck_assert_int_eq(entries.count, 1);
    chmod(entries.path[0], 0);
    bool is_hit = run_afresh(folder, 1);
    ck_assert(geteuid() == 0 || !is_hit); // root reads anything
    ck_assert(run_afresh(folder, 1));
}
END_TEST

// Each single bit of head and key, and a sample of the rest, without a driver.
START_TEST(no_flipped_bit_passes_the_check)
{
    const char *folder = new_folder("bits");
    unsigned char payload[3000], *data;
    size_t size;
    struct qn_text key = {0};
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (unsigned char)(i * 7);
    qn_device *device = open_in(folder);
    qn_cache_key(device, "source", "options", &key);
    qn_cache_store(device, &key, payload, sizeof payload);
    struct entries entries = list_entries(folder);
    ck_assert_int_eq(entries.count, 1);
    struct bytes good = read_bytes(entries.path[0]);
    size_t start = good.size - sizeof payload;
    ck_assert(qn_cache_load(device, &key, &data, &size));
    ck_assert_uint_eq(size, sizeof payload);
    ck_assert_int_eq(memcmp(data, payload, size), 0);
    free(data);
    for (size_t bit = 0; bit < 8 * good.size; bit += bit / 8 < start ? 1 : 61) {
        good.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_bytes(entries.path[0], good.data, good.size);
        ck_assert_msg(!qn_cache_load(device, &key, &data, &size),
                      "bit %zu of byte %zu does not matter", bit % 8, bit / 8);
        good.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    ck_assert_int_eq(list_entries(folder).count, 0);
    free(good.data);
    qn_text_finish(&key);
    qn_device_close(&device);
}
END_TEST

START_TEST(key_differs_with_all_it_depends_on)
{
    struct qn_text a = {0}, b = {0};
    qn_device *device = open_in(new_folder("keys"));
    qn_cache_key(device, "source", "options", &a);
    static const char *const pairs[][2] = {
        {"source ", "options"}, {"source", "options "}, {"", "sourceoptions"}};
    for (int i = 0; i < 3; i++) {
        qn_cache_key(device, pairs[i][0], pairs[i][1], &b);
        ck_assert_str_ne(a.data, b.data);
        qn_text_finish(&b);
    }
    char *const texts[] = {device->info.driver, device->info.name,
                           device->info.version, device->info.platform,
                           device->info.platform_version};
    for (int i = 0; i < 5; i++) {
        texts[i][0] ^= 1;
        qn_cache_key(device, "source", "options", &b);
        ck_assert_str_ne(a.data, b.data);
        qn_text_finish(&b);
        texts[i][0] ^= 1;
    }
    qn_text_finish(&a);
    qn_device_close(&device);
}
END_TEST

// ---- folders that are not used ----

static int warnings;

static void count_warning(void *user, qn_log_level level, const char *message)
{
    if (level == QN_LOG_WARNING && strstr(message, user))
        warnings++;
}

static void expect_off(const struct qn_device_params *params)
{
    qn_error error = {0};
    qn_device *device = qn_device_open(params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    run_program(device, 1);
    qn_device_close(&device);
}

START_TEST(unsafe_folders_and_off_switches_keep_the_cache_off)
{
    char real[192], link[192], slashed[200], file[192];
    qn_error error = {0};
    snprintf(real, sizeof real, "%s", new_folder("real"));
    snprintf(link, sizeof link, "%s", new_folder("link"));
    snprintf(file, sizeof file, "%s", new_folder("file"));
    ck_assert_ok(qn_os_make_folder(real, true, &error), error);
    ck_assert_int_eq(symlink(real, link), 0);
    snprintf(slashed, sizeof slashed, "%s//", link);
    write_bytes(file, (const unsigned char *)"x", 1);
    warnings = 0;
    expect_off(&(struct qn_device_params){.cache_dir = slashed,
                                          .log = {count_warning, link}});
    ck_assert_int_eq(warnings, 1);
    expect_off(&(struct qn_device_params){.cache_dir = link,
                                          .log = {count_warning, link}});
    ck_assert_int_eq(warnings, 2);
    expect_off(&(struct qn_device_params){.cache_dir = file,
                                          .log = {count_warning, file}});
    ck_assert_int_eq(warnings, 3);
    chmod(real, 0777);
    expect_off(&(struct qn_device_params){.cache_dir = real,
                                          .log = {count_warning, real}});
    ck_assert_int_eq(warnings, 4);
    chmod(real, 0700);
    expect_off(&(struct qn_device_params){.cache_dir = real,
                                          .no_cache = true});
    ck_assert_int_eq(list_entries(real).count, 0);

    setenv("QUERN_CACHE_DIR", real, 1);
    setenv("QUERN_CACHE", "0", 1);
    expect_off(NULL);
    ck_assert_int_eq(list_entries(real).count, 0);
    unsetenv("QUERN_CACHE");
    expect_off(NULL);
    qn_device *device = open_in(real); // to know the platform
    int want = qn_cache_is_useful(&device->info);
    qn_device_close(&device);
    ck_assert_int_eq(list_entries(real).count, want);
    unsetenv("QUERN_CACHE_DIR");
    setenv("QUERN_CACHE", "0", 1);
}
END_TEST

// ---- several processes ----

static const char *work_folder;

// What one of them does: all programs, and how many it found in the cache.
START_TEST(work)
{
    int built, cached;
    qn_device *device = open_in(work_folder);
    for (int i = 1; i <= PROGRAMS; i++)
        run_program(device, i);
    qn_device_program_count(device, &built, &cached);
    qn_device_close(&device);
    printf("built %d, cached %d\n", built, cached);
}
END_TEST

static FILE *start_worker(const char *folder)
{
    char command[9000];
    snprintf(command, sizeof command,
             "POCL_CACHE_DIR='%s.driver' '%s' work '%s'", folder, self,
             folder);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    return pipe;
}

static void end_worker(FILE *pipe, char *text, size_t size)
{
    size_t length = fread(text, 1, size - 1, pipe);
    text[length] = 0;
    ck_assert_msg(pclose(pipe) == 0, "a process failed: %s", text);
    ck_assert_msg(strstr(text, "built 3") != NULL, "%s", text);
}

START_TEST(processes_that_start_cold_together_get_right_results)
{
    const char *folder = new_folder("together");
    char driver[256], text[4096];
    qn_error error = {0};
    FILE *workers[PROCESSES];
    snprintf(driver, sizeof driver, "%s.driver", folder);
    ck_assert_ok(qn_os_make_folder(driver, true, &error), error);
    for (int i = 0; i < PROCESSES; i++)
        workers[i] = start_worker(folder);
    for (int i = 0; i < PROCESSES; i++)
        end_worker(workers[i], text, sizeof text);
    ck_assert_int_eq(list_entries(folder).count, PROGRAMS); // nothing else
    end_worker(start_worker(folder), text, sizeof text);
    ck_assert_msg(strstr(text, "cached 3") != NULL, "%s", text);
}
END_TEST

int main(int argc, char **argv)
{
    static const TTest *tests[8];
    int count = 0;
    if (argc == 3 && strcmp(argv[1], "work") == 0) {
        work_folder = argv[2];
        tests[count++] = work;
        return qn_check_run("work", tests, count);
    }
    if (!realpath(argv[0], self))
        return EXIT_FAILURE;
    // First, while this process has not used OpenCL.
    tests[count++] = processes_that_start_cold_together_get_right_results;
    tests[count++] = second_process_loads_what_the_first_built;
    tests[count++] = program_that_never_ran_is_not_kept;
    tests[count++] = damaged_entries_are_misses_and_are_replaced;
    tests[count++] = unreadable_entry_is_a_miss;
    tests[count++] = no_flipped_bit_passes_the_check;
    tests[count++] = key_differs_with_all_it_depends_on;
    tests[count++] = unsafe_folders_and_off_switches_keep_the_cache_off;
    return qn_check_run("cache", tests, count);
}
