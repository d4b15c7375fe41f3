/* A wall clock that is set while a process runs: for one that preloads this. Its monotonic clock and its sleep stay as they are.
 *
 * A wait until a time of the wall clock follows the clock that is set, in the kernel too: set forward, it ends; set back, it
 * lasts longer by as much. So such a wait is made of short ones here, and the clock is read behind each. Whoever may end it
 * signals under the mutex, which is held between them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND_NS = 1000000000;
static const int64_t SLICE_NS = 20000000;

struct shared {
    /* By how much the clock is ahead of the machine's. */
    _Atomic int64_t ahead_s;
    /* Waits that were under way when it was set. */
    _Atomic int64_t moved_waits;
};

static struct shared unset;
static struct shared *shared = &unset;

__attribute__((constructor)) static void open_shared(void) {
    const char *path = getenv("WALL_CLOCK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) abort();
    close(file);
    shared = mapped;
}

static int64_t as_ns(struct timespec time) { return time.tv_sec * SECOND_NS + time.tv_nsec; }

static struct timespec as_time(int64_t ns) {
    return (struct timespec){.tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += shared->ahead_s;
    return result;
}

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return as_ns(now);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    int64_t ns = now_ns(CLOCK_REALTIME);
    *now = (struct timeval){.tv_sec = ns / SECOND_NS, .tv_usec = ns % SECOND_NS / 1000};
    return 0;
}

time_t time(time_t *to) {
    time_t now = now_ns(CLOCK_REALTIME) / SECOND_NS;
    if (to) *to = now;
    return now;
}

int timespec_get(struct timespec *now, int base) {
    clock_gettime(CLOCK_REALTIME, now);
    return base;
}

/* What librdkafka waits by; glibc's is the same over its condition variables. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    for (int64_t ahead_s = shared->ahead_s;;) {
        int64_t left = as_ns(*until) - now_ns(CLOCK_REALTIME);
        int64_t slice = left < 0 ? 0 : left < SLICE_NS ? left : SLICE_NS;
        struct timespec end = as_time(now_ns(CLOCK_MONOTONIC) + slice);
        int result = pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, CLOCK_MONOTONIC, &end);
        if (result != ETIMEDOUT) return result == 0 ? thrd_success : thrd_error;
        if (left <= 0 || now_ns(CLOCK_REALTIME) >= as_ns(*until)) return thrd_timedout;
        if (ahead_s != shared->ahead_s) {
            ahead_s = shared->ahead_s;
            shared->moved_waits++;
        }
    }
}
