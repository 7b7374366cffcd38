/* The system's clock and the seconds that a file says: for processes whose clock a test moves, and nobody else's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void) {
    static int file = -1;
    int64_t seconds = 0;
    if (file < 0) {
        file = open(getenv("FAULTS_CLOCK"), O_RDONLY | O_CLOEXEC);
    }
    if (pread(file, &seconds, sizeof seconds, 0) != sizeof seconds) {
        abort();
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed == 0 && clock == CLOCK_REALTIME) {
        now->tv_sec += ahead();
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = (int)syscall(SYS_gettimeofday, now, zone);
    if (failed == 0) {
        now->tv_sec += ahead();
    }
    return failed;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) {
        *now = exact.tv_sec;
    }
    return exact.tv_sec;
}

/* Who waits until a time of day wakes when this clock shows it, wherever it was set to meanwhile: as a kernel does it whose clock is
   set, and a little later. Waking before, with nothing told, is allowed. */
int pthread_cond_timedwait(pthread_cond_t *restrict told, pthread_mutex_t *restrict held, const struct timespec *restrict until) {
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    const int64_t step = 20 * 1000 * 1000, second = 1000 * 1000 * 1000;
    struct timespec now, soon;
    if (!wait) {
        *(void **)&wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    }
    /* By a clock that counts from the start of the machine. */
    if (until->tv_sec < 1000 * 1000 * 1000) {
        return wait(told, held, until);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = (int64_t)(until->tv_sec - now.tv_sec) * second + (until->tv_nsec - now.tv_nsec);
    int is_last = left <= step;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &soon);
    soon.tv_nsec += left < 0 ? 0 : is_last ? left : step;
    soon.tv_sec += soon.tv_nsec / second;
    soon.tv_nsec %= second;
    int ended = wait(told, held, &soon);
    return ended == ETIMEDOUT && !is_last ? 0 : ended;
}

/* The same by its other name, by which the system's library does not come to the one above. */
int cnd_timedwait(cnd_t *restrict told, mtx_t *restrict held, const struct timespec *restrict until) {
    switch (pthread_cond_timedwait((pthread_cond_t *)told, (pthread_mutex_t *)held, until)) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    default:
        return thrd_error;
    }
}
