/* What a bad machine does to a process, on request: LD_PRELOAD it.

   ENDURANCE_ROOT    files below are meant; all others are left alone
   ENDURANCE_KILL    end with SIGKILL at this file operation (1 is the first) ...
   ENDURANCE_AFTER   ... 1: after it, 0: before it
   ENDURANCE_DELAY   milliseconds that every file operation takes longer
   ENDURANCE_BYTES   bytes that can be written; then the disk is full
   ENDURANCE_NOLOCK  1: the file system has no locks
   ENDURANCE_CLOCK   seconds that the clock is off, "A,B": jumping between A and B every 40 readings

   File operations are those that change names or force data to the disk: opening for writing,
   rename, unlink, mkdir, fsync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static atomic_long operations, readings;
static atomic_llong written;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int below(const char *path) {
    const char *root = getenv("ENDURANCE_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static int descriptor_below(int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return below(path);
}

static void die_if(int after) {
    if (operations == number("ENDURANCE_KILL") && after == number("ENDURANCE_AFTER"))
        kill(getpid(), SIGKILL);
}

static void wait_a_little(void) {
    long delay = number("ENDURANCE_DELAY");
    if (delay) usleep(delay * 1000);
}

static void before(void) {
    wait_a_little();
    if (number("ENDURANCE_KILL")) {
        operations++;
        die_if(0);
    }
}

static void after(void) {
    if (number("ENDURANCE_KILL")) die_if(1);
}

#define OPEN(name)                                              \
    int name(const char *path, int flags, ...) {                \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        int mode = va_arg(rest, int);                           \
        va_end(rest);                                           \
        int meant = below(path) && (flags & (O_WRONLY | O_RDWR)); \
        if (meant) before();                                    \
        int found = REAL(name)(path, flags, mode);              \
        if (meant) after();                                     \
        return found;                                           \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                            \
    int name(int folder, const char *path, int flags, ...) {    \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        int mode = va_arg(rest, int);                           \
        va_end(rest);                                           \
        int meant = below(path) && (flags & (O_WRONLY | O_RDWR)); \
        if (meant) before();                                    \
        int found = REAL(name)(folder, path, flags, mode);      \
        if (meant) after();                                     \
        return found;                                           \
    }
OPENAT(openat)
OPENAT(openat64)

static int full(int file, size_t count) {
    long room = number("ENDURANCE_BYTES");
    if (!room || !descriptor_below(file)) return 0;
    if (written + (long long)count > room) return 1;
    written += count;
    return 0;
}

#define WRITE(name, parameters, arguments)                      \
    ssize_t name parameters {                                   \
        if (number("ENDURANCE_DELAY") && descriptor_below(file)) wait_a_little(); \
        if (full(file, count)) {                                \
            errno = ENOSPC;                                     \
            return -1;                                          \
        }                                                       \
        return REAL(name) arguments;                            \
    }
WRITE(write, (int file, const void *data, size_t count), (file, data, count))
WRITE(pwrite, (int file, const void *data, size_t count, off_t place), (file, data, count, place))
WRITE(pwrite64, (int file, const void *data, size_t count, off64_t place),
      (file, data, count, place))

#define CHANGE(name, parameters, arguments, path)               \
    int name parameters {                                       \
        int meant = below(path);                                \
        if (meant) before();                                    \
        int found = REAL(name) arguments;                       \
        if (meant) after();                                     \
        return found;                                           \
    }
CHANGE(rename, (const char *from, const char *to), (from, to), to)
CHANGE(unlink, (const char *path), (path), path)
CHANGE(mkdir, (const char *path, mode_t mode), (path, mode), path)

int fsync(int file) {
    int meant = descriptor_below(file);
    if (meant) before();
    int found = REAL(fsync)(file);
    if (meant) after();
    return found;
}

int flock(int file, int operation) {
    if (number("ENDURANCE_NOLOCK")) {
        errno = ENOLCK;
        return -1;
    }
    return ((int (*)(int, int))real("flock"))(file, operation);
}

static time_t error_of_the_clock(void) {
    const char *text = getenv("ENDURANCE_CLOCK");
    long first = 0, second = 0;
    if (!text || sscanf(text, "%ld,%ld", &first, &second) != 2) return 0;
    return (readings++ / 40) % 2 ? second : first;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int found = REAL(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += error_of_the_clock();
    return found;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int found = REAL(gettimeofday)(now, zone);
    now->tv_sec += error_of_the_clock();
    return found;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
