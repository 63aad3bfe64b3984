// Terminals, signals and folders on Windows.
#define WIN32_LEAN_AND_MEAN
#define _CRT_SECURE_NO_WARNINGS
#include <windows.h>

#include <io.h>
#include <psapi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"

int terminal_width(FILE *file)
{
    HANDLE handle = (HANDLE)_get_osfhandle(_fileno(file));
    CONSOLE_SCREEN_BUFFER_INFO info;
    DWORD mode;
    if (!_isatty(_fileno(file)) || !GetConsoleMode(handle, &mode) ||
        !GetConsoleScreenBufferInfo(handle, &info))
        return 0;
    // Escape sequences draw the bar; consoles without them count as none.
    if (!SetConsoleMode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING))
        return 0;
    return info.srWindow.Right - info.srWindow.Left + 1;
}

bool terminal_has_color(FILE *file)
{
    const char *refused = getenv("NO_COLOR");
    return terminal_width(file) > 0 && !(refused && *refused);
}

bool locale_is_utf8(void)
{
    return GetConsoleOutputCP() == CP_UTF8;
}

// PoCL is rare here, and its workers cannot be pinned.
void pin_workers(void)
{
}

static volatile sig_atomic_t interrupted;

// The runtime resets a handler before it calls it: a second signal ends.
static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void catch_interrupts(void)
{
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
}

bool is_interrupted(void)
{
    return interrupted != 0;
}

double seconds_now(void)
{
    LARGE_INTEGER now, each;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&each);
    return (double)now.QuadPart / (double)each.QuadPart;
}

double peak_resident_size(void)
{
    PROCESS_MEMORY_COUNTERS counters;
    if (!K32GetProcessMemoryInfo(GetCurrentProcess(), &counters,
                                 sizeof counters))
        return 0;
    return (double)counters.PeakWorkingSetSize;
}

void reset_peak_resident_size(void)
{
}

bool make_new_folder(const char *path, bool *exists)
{
    bool made = CreateDirectoryA(path, NULL) != 0;
    *exists = !made && GetLastError() == ERROR_ALREADY_EXISTS;
    return made;
}
