// Files, folders, environment, clocks: what os.h promises.
#define _XOPEN_SOURCE 700

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "qn_check.h"

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", qn_check_folder(), name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    qn_error error = {0};
    const struct qn_os_part part = {text, strlen(text)};
    ck_assert_ok(qn_os_replace_file(path, &part, 1, &error), error);
}

static void expect_text(const char *path, const char *want)
{
    unsigned char *data;
    size_t size;
    qn_error error = {0};
    ck_assert_ok(qn_os_read_file(path, 1 << 20, &data, &size, &error), error);
    ck_assert_uint_eq(size, strlen(want));
    ck_assert_str_eq((char *)data, want);
    free(data);
}

static void count_name(void *user, const char *name)
{
    ck_assert(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    ++*(int *)user;
}

static int count_names(const char *path)
{
    int count = 0;
    qn_error error = {0};
    ck_assert_ok(qn_os_list_folder(path, count_name, &count, &error), error);
    return count;
}

START_TEST(replace_writes_all_parts_and_reads_back)
{
    const char *path = in_folder("parts");
    const struct qn_os_part parts[] = {{"one ", 4}, {"", 0}, {"two", 3}};
    qn_error error = {0};
    ck_assert_ok(qn_os_replace_file(path, parts, 3, &error), error);
    expect_text(path, "one two");
    write_text(path, "new");
    expect_text(path, "new");
    ck_assert(qn_os_is_file(path));
    ck_assert(!qn_os_is_folder(path));
    uint64_t size;
    double changed;
    ck_assert(qn_os_file_info(path, &size, &changed));
    ck_assert_uint_eq(size, 3);
}
END_TEST

START_TEST(read_refuses_what_is_too_large_or_missing)
{
    unsigned char *data;
    size_t size;
    qn_error error = {0};
    const char *path = in_folder("ten");
    write_text(path, "0123456789");
    ck_assert_ok(qn_os_read_file(path, 10, &data, &size, &error), error);
    free(data);
    ck_assert_int_eq(qn_os_read_file(path, 9, &data, &size, &error), QN_IO);
    ck_assert_ptr_null(data);
    ck_assert_ptr_nonnull(strstr(error.text, "ten"));
    error = (qn_error){0};
    path = in_folder("missing");
    ck_assert_int_eq(qn_os_read_file(path, 9, &data, &size, &error), QN_IO);
    ck_assert_ptr_nonnull(strstr(error.text, "missing"));
    ck_assert_int_eq(qn_os_read_file(qn_check_folder(), 9, &data, &size, NULL),
                     QN_IO);
}
END_TEST

// A full disk, by the limit on file sizes: the write itself fails.
START_TEST(failed_write_leaves_the_old_file_and_no_other)
{
    char folder[128], path[192];
    static char large[100000];
    qn_error error = {0};
    snprintf(folder, sizeof folder, "%s", in_folder("full"));
    snprintf(path, sizeof path, "%s/file", folder);
    ck_assert_ok(qn_os_make_folder(folder, false, &error), error);
    write_text(path, "old");
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    const struct qn_os_part part = {large, sizeof large};
    qn_status status = qn_os_replace_file(path, &part, 1, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert_int_eq(status, QN_IO);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    expect_text(path, "old");
    ck_assert_int_eq(count_names(folder), 1);
}
END_TEST

START_TEST(failed_rename_leaves_no_temporary_file)
{
    char folder[128], path[192];
    qn_error error = {0};
    snprintf(folder, sizeof folder, "%s", in_folder("rename"));
    snprintf(path, sizeof path, "%s/target", folder);
    ck_assert_ok(qn_os_make_folder(path, false, &error), error);
    const struct qn_os_part part = {"x", 1};
    ck_assert_int_eq(qn_os_replace_file(path, &part, 1, &error), QN_IO);
    ck_assert(qn_os_is_folder(path));
    ck_assert_int_eq(count_names(folder), 1);
    error = (qn_error){0};
    ck_assert_int_eq(qn_os_replace_file(in_folder("none/file"), &part, 1,
                                        &error),
                     QN_IO);
    ck_assert_ptr_nonnull(strstr(error.text, "none/file"));
}
END_TEST

START_TEST(replace_takes_the_place_of_a_link_not_of_its_target)
{
    char target[160], link[160];
    snprintf(target, sizeof target, "%s", in_folder("target"));
    snprintf(link, sizeof link, "%s", in_folder("link"));
    write_text(target, "target");
    ck_assert_int_eq(symlink(target, link), 0);
    ck_assert(qn_os_is_link(link));
    ck_assert(!qn_os_is_link(target));
    write_text(link, "file");
    ck_assert(!qn_os_is_link(link));
    expect_text(target, "target");
    expect_text(link, "file");
}
END_TEST

START_TEST(folders_are_made_with_parents_and_private)
{
    char path[160], link[160];
    qn_error error = {0};
    struct stat info;
    snprintf(path, sizeof path, "%s", in_folder("a/b//c/"));
    ck_assert_ok(qn_os_make_folder(path, true, &error), error);
    ck_assert_ok(qn_os_make_folder(path, true, &error), error);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(info.st_mode & 0777, 0700);
    ck_assert(qn_os_folder_is_safe(path));
    chmod(path, 0770);
    ck_assert(!qn_os_folder_is_safe(path));
    chmod(path, 0702);
    ck_assert(!qn_os_folder_is_safe(path));
    chmod(path, 0755);
    ck_assert(qn_os_folder_is_safe(path));
    path[strlen(path) - 1] = 0;
    snprintf(link, sizeof link, "%s", in_folder("folder-link"));
    ck_assert_int_eq(symlink(path, link), 0);
    ck_assert(qn_os_is_folder(link));
    ck_assert(!qn_os_folder_is_safe(link));
    ck_assert(!qn_os_folder_is_safe(in_folder("nothing")));
    write_text(in_folder("plain"), "");
    ck_assert_int_eq(qn_os_make_folder(in_folder("plain/below"), false,
                                       &error),
                     QN_IO);
}
END_TEST

START_TEST(truncate_cuts_the_end)
{
    qn_error error = {0};
    const char *path = in_folder("lines");
    write_text(path, "one\ntwo\n");
    ck_assert_ok(qn_os_truncate_file(path, 4, &error), error);
    expect_text(path, "one\n");
    ck_assert_int_eq(qn_os_remove_file(path), QN_OK);
    ck_assert(!qn_os_is_file(path));
    ck_assert_int_eq(qn_os_remove_file(path), QN_IO);
    ck_assert_int_eq(qn_os_truncate_file(path, 4, &error), QN_IO);
}
END_TEST

START_TEST(environment_gives_only_what_is_set_and_not_empty)
{
    char folder[64];
    setenv("QN_CHECK_OS", "value", 1);
    ck_assert_str_eq(qn_os_env("QN_CHECK_OS"), "value");
    setenv("QN_CHECK_OS", "", 1);
    ck_assert_ptr_null(qn_os_env("QN_CHECK_OS"));
    unsetenv("QN_CHECK_OS");
    ck_assert_ptr_null(qn_os_env("QN_CHECK_OS"));
    setenv("XDG_CACHE_HOME", "/cache", 1);
    ck_assert(qn_os_cache_folder(folder, sizeof folder));
    ck_assert_str_eq(folder, "/cache/quern");
    ck_assert(!qn_os_cache_folder(folder, 10));
    // The base directory specification: a path that is not absolute is void.
    setenv("XDG_CACHE_HOME", "cache", 1);
    setenv("HOME", "/home/me", 1);
    ck_assert(qn_os_cache_folder(folder, sizeof folder));
    ck_assert_ptr_nonnull(strstr(folder, "/home/me/"));
    unsetenv("HOME");
    ck_assert(!qn_os_cache_folder(folder, sizeof folder));
}
END_TEST

START_TEST(clocks_run_forward_and_know_the_process)
{
    double start = qn_os_seconds(), process = qn_os_process_seconds();
    ck_assert(process >= 0 && process < 3600);
    const struct timespec pause = {.tv_nsec = 50000000};
    nanosleep(&pause, NULL);
    double passed = qn_os_seconds() - start;
    ck_assert(passed >= 0.05 && passed < 30);
    ck_assert(qn_os_process_seconds() - process > 0.03);
}
END_TEST

START_TEST(loaded_libraries_are_known_by_name)
{
    ck_assert(!qn_os_is_library_loaded("libquern-no-such-library.so.7"));
}
END_TEST

QN_CHECK_MAIN("os", replace_writes_all_parts_and_reads_back,
              read_refuses_what_is_too_large_or_missing,
              failed_write_leaves_the_old_file_and_no_other,
              failed_rename_leaves_no_temporary_file,
              replace_takes_the_place_of_a_link_not_of_its_target,
              folders_are_made_with_parents_and_private,
              truncate_cuts_the_end,
              environment_gives_only_what_is_set_and_not_empty,
              clocks_run_forward_and_know_the_process,
              loaded_libraries_are_known_by_name)
