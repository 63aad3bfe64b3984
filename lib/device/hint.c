// What would help a system without a usable driver: commands that install one,
// and the drivers that are installed but did not load.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/state.h"

static const struct {
    const char *system; // ID or ID_LIKE of os-release
    const char *commands;
} hints[] = {
    // Ubuntu says that it is like Debian, so it stands first.
    {"ubuntu", "apt install pocl-opencl-icd    # any CPU\n"
               "apt install mesa-opencl-icd    # AMD GPU\n"
               "apt install intel-opencl-icd   # Intel GPU"},
    {"debian", "apt install pocl-opencl-icd    # any CPU\n"
               "apt install mesa-opencl-icd    # AMD GPU\n"
               "apt install intel-opencl-icd   # Intel GPU\n"
               "apt install nvidia-opencl-icd  # NVIDIA GPU (non-free)"},
    {"fedora", "dnf install pocl               # any CPU\n"
               "dnf install mesa-libOpenCL     # AMD GPU"},
    {"rhel", "dnf install pocl               # any CPU"},
    {"arch", "pacman -S pocl                 # any CPU\n"
             "pacman -S intel-compute-runtime  # Intel GPU\n"
             "pacman -S opencl-nvidia        # NVIDIA GPU"},
    {"suse", "zypper install pocl            # any CPU"},
};

// True if a line ID= or ID_LIKE= of os-release holds the word.
static bool is_system(const char *release, const char *system)
{
    for (const char *line = release; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t skip = strncmp(line, "ID=", 3) == 0        ? 3
                      : strncmp(line, "ID_LIKE=", 8) == 0 ? 8
                                                          : 0;
        size_t end = strcspn(line, "\n"), length = strlen(system);
        for (size_t i = skip; skip && i + length <= end; i++)
            if (strncmp(line + i, system, length) == 0)
                return true;
    }
    return false;
}

const char *qn_device_install_hint(void)
{
#if defined(_WIN32)
    return "Install the driver of the GPU's maker (AMD, Intel or NVIDIA).";
#elif defined(__APPLE__)
    return "brew install pocl";
#else
    const char *commands = "Install PoCL (portablecl.org) or the driver of "
                           "the GPU's maker.";
    unsigned char *release;
    size_t size;
    if (qn_os_read_file("/etc/os-release", 65536, &release, &size, NULL) !=
        QN_OK)
        return commands;
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (is_system((const char *)release, hints[i].system)) {
            commands = hints[i].commands;
            break;
        }
    free(release);
    return commands;
#endif
}

// ---- drivers that did not load ----

struct driver_check {
    const char *folder;
    const qn_logger *log;
};

static void check_driver(void *user, const char *name)
{
    const struct driver_check *check = user;
    const char *end = strrchr(name, '.');
    char path[4096];
    unsigned char *data;
    size_t size;
    if (!end || strcmp(end, ".icd") != 0)
        return;
    snprintf(path, sizeof path, "%s/%s", check->folder, name);
    qn_error error = {0};
    if (qn_os_read_file(path, 4096, &data, &size, &error) != QN_OK) {
        qn_log_write(check->log, QN_LOG_WARNING, "OpenCL driver: %s",
                     error.text);
        return;
    }
    char *library = (char *)data;
    library[strcspn(library, "\r\n")] = 0;
    if (!*library || !qn_os_is_library_loaded(library))
        qn_log_write(check->log, QN_LOG_WARNING,
                     "OpenCL driver %s is not in use: its library \"%.200s\" "
                     "is missing, does not load or finds no hardware",
                     path, library);
    free(data);
}

void qn_drivers_check(const qn_logger *log)
{
    struct driver_check check = {qn_os_env("OCL_ICD_VENDORS"), log};
    if (!check.folder || !qn_os_is_folder(check.folder))
        check.folder = "/etc/OpenCL/vendors";
    if (log && log->callback && qn_os_is_folder(check.folder))
        qn_os_list_folder(check.folder, check_driver, &check, NULL);
}
