// Which device is taken: the words of a choice on made-up lists and on this
// system's, and systems with no driver or a broken one.
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "device/state.h"
#include "qn_check.h"

enum { GIB = 1 << 30 };

// A workstation with everything, in the order of its platforms.
static qn_device_info devices[] = {
    {.platform_index = 0, .device_index = 0, .type = QN_DEVICE_CPU,
     .platform = "Portable Computing Language", .name = "pthread-haswell",
     .vendor = "GenuineIntel", .memory_size = 64ull * GIB,
     .compute_units = 16, .clock = 3000},
    {.platform_index = 1, .device_index = 0, .type = QN_DEVICE_INTEGRATED_GPU,
     .platform = "Intel(R) OpenCL Graphics", .name = "Intel(R) UHD Graphics",
     .vendor = "Intel(R) Corporation", .memory_size = 32ull * GIB},
    {.platform_index = 2, .device_index = 0, .type = QN_DEVICE_GPU,
     .platform = "NVIDIA CUDA", .name = "NVIDIA T400", .vendor = "NVIDIA",
     .memory_size = 4ull * GIB},
    {.platform_index = 2, .device_index = 1, .type = QN_DEVICE_GPU,
     .platform = "NVIDIA CUDA", .name = "NVIDIA H200", .vendor = "NVIDIA",
     .memory_size = 141ull * GIB},
    {.platform_index = 3, .device_index = 0, .type = QN_DEVICE_GPU,
     .platform = "rusticl", .name = "AMD Radeon", .vendor = "AMD",
     .memory_size = 512ull * GIB, .problem = "it has no compiler"},
    {.platform_index = 4, .device_index = 0, .type = QN_DEVICE_EMULATOR,
     .platform = "Oclgrind", .name = "Oclgrind Simulator",
     .vendor = "University of Bristol", .memory_size = 900ull * GIB},
};
enum { COUNT = sizeof devices / sizeof *devices };

static const struct {
    const char *choice;
    int want;         // index above, or -1
    const char *part; // of the reason
} choices[] = {
    {"best", 3, "discrete GPU before"},
    {"BEST", 3, "discrete GPU before"},
    {"gpu", 3, "best of 3"},
    {"GPU", 3, "best of 3"},
    {"gpu:0", 3, "best of 3"},
    {"gpu:1", 2, "best of 3"},
    {"gpu:2", 1, "best of 3"},
    {"gpu:3", -1, "no device fits \"gpu:3\""},
    {"gpu:-1", -1, "no device fits"},
    {"gpu:1x", -1, "no device fits"},
    {"gpu:", -1, "no device fits"},
    {"cpu", 0, "the one that fits \"cpu\""},
    {"cpu:1", -1, "no device fits"},
    {"accelerator", -1, "no device fits"},
    {"emulator", 5, "the one that fits"},
    {"0:0", 0, "the one that fits"},
    {"2:1", 3, "the one that fits"},
    {" 2:0 ", 2, "the one that fits"},
    {"2:2", -1, "no device fits"},
    {"7:0", -1, "no device fits"},
    {"99999999999:0", -1, "no device fits"},
    {"3:0", -1, "cannot be used, it has no compiler"},
    {"radeon", -1, "cannot be used, it has no compiler"},
    {"oclgrind", 5, "the one that fits"},
    {"nvidia", 3, "best of 2"},
    {"t400", 2, "the one that fits \"t400\""},
    {"Intel(R) UHD", 1, "the one that fits"},
    {"intel", 1, "best of 2"}, // the CPU's vendor is GenuineIntel
    {"portable", 0, "the one that fits"},
    {"voodoo", -1, "2:1 NVIDIA H200 (GPU)"},
    {"voodoo, cpu", 0, "the one that fits \"cpu\""},
    {"accelerator,t400,gpu", 2, "\"t400\""},
    {",,gpu:1,", 2, "\"gpu:1\""},
    {"voodoo,accelerator", -1, "no device fits \"voodoo,accelerator\""},
};

START_TEST(choice_takes_what_its_words_say)
{
    qn_device_list list = {5, COUNT, -1, devices, ""};
    qn_devices_rank(devices, COUNT);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        int got = qn_devices_choose(&list, choices[i].choice, NULL);
        ck_assert_msg(got == choices[i].want, "%s: %d, should be %d",
                      choices[i].choice, got, choices[i].want);
        ck_assert_msg(strstr(list.reason, choices[i].part) != NULL,
                      "%s: \"%s\" should say \"%s\"", choices[i].choice,
                      list.reason, choices[i].part);
    }
    ck_assert_int_eq(qn_devices_choose(&list, "voodoo", "QUERN_DEVICE"), -1);
    ck_assert_ptr_nonnull(strstr(list.reason, "(QUERN_DEVICE)"));
    ck_assert_int_eq(qn_devices_choose(&list, "cpu", "QUERN_DEVICE"), 0);
    ck_assert_ptr_nonnull(strstr(list.reason, "(QUERN_DEVICE)"));
}
END_TEST

START_TEST(rank_puts_discrete_gpus_first_and_emulators_last)
{
    static const int want[COUNT] = {3, 2, 1, 0, 5, 4};
    qn_devices_rank(devices, COUNT);
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(devices[i].rank, want[i]);
}
END_TEST

START_TEST(emulator_is_never_taken_by_itself)
{
    qn_device_info only = devices[5];
    qn_device_list list = {1, 1, -1, &only, ""};
    qn_devices_rank(&only, 1);
    ck_assert_int_eq(qn_devices_choose(&list, "best", NULL), -1);
    ck_assert_ptr_nonnull(strstr(list.reason, "Oclgrind Simulator"));
    ck_assert_int_eq(qn_devices_choose(&list, "gpu", NULL), -1);
    ck_assert_int_eq(qn_devices_choose(&list, "oclgrind", NULL), 0);
}
END_TEST

START_TEST(long_choices_and_names_stay_in_bounds)
{
    static qn_device_info many[64];
    char choice[5000];
    for (int i = 0; i < 64; i++) {
        many[i] = devices[0];
        many[i].device_index = i;
        memset(many[i].name, 'n', sizeof many[i].name - 1);
    }
    qn_device_list list = {1, 64, -1, many, ""};
    qn_devices_rank(many, 64);
    memset(choice, 'x', sizeof choice);
    choice[sizeof choice - 1] = 0;
    ck_assert_int_eq(qn_devices_choose(&list, choice, NULL), -1);
    ck_assert_uint_eq(strlen(list.reason), sizeof list.reason - 1);
    ck_assert_int_eq(qn_devices_choose(&list, "cpu:63", NULL), 63);
}
END_TEST

// ---- other systems, seen by this program started again ----

static char self[4096];

static void print_message(void *user, qn_log_level level, const char *message)
{
    (void)user;
    if (level <= QN_LOG_WARNING)
        printf("log: %s\n", message);
}

static int list_and_open(void)
{
    const qn_logger log = {print_message, NULL};
    qn_error error = {0};
    qn_device_list *list = qn_device_list_create(NULL, &log, &error);
    if (!list)
        return 1;
    printf("platforms %d, devices %d, chosen %d\nreason: %s\n",
           list->platform_count, list->device_count, list->chosen,
           list->reason);
    qn_device_list_destroy(&list);
    qn_device *device = qn_device_open(NULL, &error);
    printf("open: %s %s\n", qn_status_name(error.status), error.text);
    qn_device_close(&device);
    return 0;
}

// Runs this program with a folder of driver files; what it prints goes to
// `text`.
static void list_with(const char *folder, char *text, size_t size)
{
    char command[9000];
    snprintf(command, sizeof command,
             "env -u OCL_ICD_FILENAMES QUERN_CACHE=0 OCL_ICD_VENDORS='%s' "
             "'%s' list",
             folder, self);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t length = fread(text, 1, size - 1, pipe);
    text[length] = 0;
    ck_assert_msg(pclose(pipe) == 0, "the listing failed: %s", text);
}

static void make_driver_file(const char *folder, const char *name,
                             const char *library)
{
    char path[512];
    qn_error error = {0};
    const struct qn_os_part part = {library, strlen(library)};
    ck_assert_ok(qn_os_make_folder(folder, false, &error), error);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_ok(qn_os_replace_file(path, &part, 1, &error), error);
}

static void expect(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text);
}

START_TEST(system_without_drivers_gives_an_empty_list_and_a_hint)
{
    char folder[256], text[8192];
    qn_error error = {0};
    snprintf(folder, sizeof folder, "%s/empty", qn_check_folder());
    ck_assert_ok(qn_os_make_folder(folder, false, &error), error);
    list_with(folder, text, sizeof text);
    expect(text, "platforms 0, devices 0, chosen -1");
    expect(text, "no OpenCL driver");
    expect(text, qn_device_install_hint());
    expect(text, "open: QN_NO_DEVICE");
}
END_TEST

START_TEST(broken_drivers_are_named_and_do_no_harm)
{
    char folder[256], garbage[512], text[8192];
    snprintf(folder, sizeof folder, "%s/broken", qn_check_folder());
    make_driver_file(folder, "missing.icd", "libno-such-driver.so.1\n");
    make_driver_file(folder, "empty.icd", "");
    make_driver_file(folder, "garbage.so", "this is no shared library");
    snprintf(garbage, sizeof garbage, "%s/garbage.so\n", folder);
    make_driver_file(folder, "garbage.icd", garbage);
    list_with(folder, text, sizeof text);
    expect(text, "platforms 0, devices 0, chosen -1");
    expect(text, "missing.icd");
    expect(text, "libno-such-driver.so.1");
    expect(text, "garbage.icd");
    expect(text, "empty.icd");
    expect(text, "open: QN_NO_DEVICE");
}
END_TEST

static char good_folder[256];

static void copy_driver(void *user, const char *name)
{
    char path[512];
    unsigned char *data;
    size_t size;
    qn_error error = {0};
    snprintf(path, sizeof path, "/etc/OpenCL/vendors/%s", name);
    ck_assert_ok(qn_os_read_file(path, 4096, &data, &size, &error), error);
    make_driver_file(good_folder, name, (char *)data);
    free(data);
    ++*(int *)user;
}

START_TEST(broken_driver_beside_good_ones_is_left_out)
{
    char text[8192];
    int count = 0;
    if (!qn_os_is_folder("/etc/OpenCL/vendors"))
        return; // drivers are registered in another way here
    snprintf(good_folder, sizeof good_folder, "%s/mixed", qn_check_folder());
    qn_os_list_folder("/etc/OpenCL/vendors", copy_driver, &count, NULL);
    make_driver_file(good_folder, "broken.icd", "libno-such-driver.so.1\n");
    list_with(good_folder, text, sizeof text);
    expect(text, "broken.icd");
    if (count)
        expect(text, "open: QN_OK");
}
END_TEST

START_TEST(real_list_agrees_with_what_is_opened)
{
    qn_error error = {0};
    qn_device_list *list = qn_device_list_create(NULL, NULL, &error);
    ck_assert_ptr_nonnull(list);
    ck_assert_int_ge(list->chosen, 0);
    const qn_device_info *chosen = &list->devices[list->chosen];
    ck_assert(chosen->memory_size > 0 && chosen->max_alloc_size > 0);
    ck_assert(chosen->compute_units > 0 && chosen->max_group_size > 0);
    ck_assert_str_eq(chosen->problem, "");
    const qn_device_info *opened = qn_device_describe(qn_check_device());
    ck_assert_str_eq(opened->name, chosen->name);
    ck_assert_int_eq(opened->platform_index, chosen->platform_index);
    ck_assert_int_eq(opened->device_index, chosen->device_index);

    char place[32];
    snprintf(place, sizeof place, "%d:%d", chosen->platform_index,
             chosen->device_index);
    const char *const same[] = {place, chosen->name};
    for (int i = 0; i < 2; i++) {
        struct qn_device_params params = {.choice = same[i],
                                          .no_cache = true};
        qn_device *device = qn_device_open(&params, &error);
        ck_assert_msg(device != NULL, "%s", error.text);
        ck_assert_str_eq(qn_device_describe(device)->name, chosen->name);
        ck_assert(*qn_device_reason(device));
        qn_device_close(&device);
    }
    struct qn_device_params params = {.choice = "no such device"};
    ck_assert_ptr_null(qn_device_open(&params, &error));
    ck_assert_int_eq(error.status, QN_NO_DEVICE);
    expect(error.text, chosen->name);
    qn_device_list_destroy(&list);
    ck_assert_ptr_null(list);
    qn_device_list_destroy(&list);
}
END_TEST

int main(int argc, char **argv)
{
    static const TTest *tests[8];
    int count = 0;
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list_and_open();
    if (!realpath(argv[0], self))
        return EXIT_FAILURE;
    tests[count++] = choice_takes_what_its_words_say;
    tests[count++] = rank_puts_discrete_gpus_first_and_emulators_last;
    tests[count++] = emulator_is_never_taken_by_itself;
    tests[count++] = long_choices_and_names_stay_in_bounds;
    tests[count++] = system_without_drivers_gives_an_empty_list_and_a_hint;
    tests[count++] = broken_drivers_are_named_and_do_no_harm;
    tests[count++] = broken_driver_beside_good_ones_is_left_out;
    tests[count++] = real_list_agrees_with_what_is_opened;
    return qn_check_run("choice", tests, count);
}
