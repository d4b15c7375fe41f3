/* librdkafka's waits by the monotonic clock, in the place of glibc's cnd_timedwait.
 *
 * librdkafka waits on its condition variables until a time of the wall clock. Where that is set back meanwhile, the kernel
 * lets it wait for as much longer (its issue 2145): who hands acknowledgements over or connects again stands still for the
 * length of the jump, as does who waits for that thread's end. Behind a wait that has ended by time librdkafka asks its own,
 * monotonic clock whether it is over. So waits may end early here, and none need trust the wall clock for longer than this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

static const long long SECOND_NS = 1000000000;

_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t) && sizeof(mtx_t) == sizeof(pthread_mutex_t), "not glibc's");

static long long now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    long long left = until->tv_sec * SECOND_NS + until->tv_nsec - now_ns(CLOCK_REALTIME);
    left = left < 0 ? 0 : left > SECOND_NS ? SECOND_NS : left;
    long long end_ns = now_ns(CLOCK_MONOTONIC) + left;
    struct timespec end = {.tv_sec = end_ns / SECOND_NS, .tv_nsec = end_ns % SECOND_NS};
    switch (pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, CLOCK_MONOTONIC, &end)) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    default:
        return thrd_error;
    }
}
