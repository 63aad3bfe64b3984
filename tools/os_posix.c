// Terminals, signals and processors on POSIX systems.
#if defined(__linux__)
#define _GNU_SOURCE // sched_getaffinity
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#else
#define _XOPEN_SOURCE 700
#endif

#include <errno.h>
#include <langinfo.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

int terminal_width(FILE *file)
{
    const char *kind = getenv("TERM");
    struct winsize size;
    if (!isatty(fileno(file)) || !kind || strcmp(kind, "dumb") == 0)
        return 0;
    if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

bool terminal_has_color(FILE *file)
{
    const char *refused = getenv("NO_COLOR");
    return terminal_width(file) > 0 && !(refused && *refused);
}

bool locale_is_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

#if defined(__linux__)
static bool has_first_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return false;
    int count = CPU_COUNT(&set);
    for (int i = 0; i < count; i++)
        if (!CPU_ISSET(i, &set))
            return false;
    return true;
}

void pin_workers(void)
{
    if (has_first_processors())
        setenv("POCL_AFFINITY", "1", 0);
}
#else
void pin_workers(void)
{
}
#endif

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool is_interrupted(void)
{
    return interrupted != 0;
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#if defined(__linux__)
// "VmHWM:     1234 kB" in /proc/self/status.
double peak_resident_size(void)
{
    char line[256];
    double kibibytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lf", &kibibytes) == 1)
            break;
    if (file)
        fclose(file);
    return 1024 * kibibytes;
}

// proc(5): 5 sets the peak to what is resident now. A system that refuses it
// goes on with the old peak.
void reset_peak_resident_size(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file)
        return;
    fputs("5", file);
    fclose(file);
}
#else
double peak_resident_size(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
#if defined(__APPLE__)
    return (double)usage.ru_maxrss;
#else
    return 1024.0 * (double)usage.ru_maxrss;
#endif
}

void reset_peak_resident_size(void)
{
}
#endif

bool make_new_folder(const char *path, bool *exists)
{
    bool made = mkdir(path, 0777) == 0;
    *exists = !made && errno == EEXIST;
    return made;
}
