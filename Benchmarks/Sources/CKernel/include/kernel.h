// Static inline wrappers over the Linux calls of the benchmarks; each returns the result, or -errno.
// Called by Benchmarks/Sources/SwitchLatency. No policy and no state lives here.
#ifndef SWITCHBACK_BENCHMARK_KERNEL_H
#define SWITCHBACK_BENCHMARK_KERNEL_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define KERNEL_RESULT(type, call) do { type r_ = (type)(call); return r_ < 0 ? (type)-errno : r_; } while (0)

static inline int64_t kernel_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline void kernel_sleep_until_ns(int64_t at) {
    struct timespec t = { .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) { }
}
// A sleep of this thread, and of threads it starts, ends when it should and not up to 50 us later.
static inline void kernel_exact_sleeps(void) { prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); }

static inline int kernel_epoll_create(void) { KERNEL_RESULT(int, epoll_create1(EPOLL_CLOEXEC)); }
static inline int kernel_epoll_add(int epoll, int fd, uint64_t data) {
    struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP, .data = { .u64 = data } };
    KERNEL_RESULT(int, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
}
static inline int kernel_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms) {
    KERNEL_RESULT(int, epoll_wait(epoll, events, count, timeout_ms));
}

static inline int kernel_timer_create(void) {
    KERNEL_RESULT(int, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}
static inline int kernel_timer_arm(int fd, int64_t at) {
    struct itimerspec t = { .it_value = { .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 } };
    KERNEL_RESULT(int, timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
}
static inline int kernel_event_create(void) { KERNEL_RESULT(int, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }
static inline void kernel_event_signal(int fd) { uint64_t one = 1; (void)!write(fd, &one, sizeof one); }
// Empties an eventfd or a timerfd.
static inline void kernel_counter_clear(int fd) { uint64_t count; (void)!read(fd, &count, sizeof count); }
static inline void kernel_close(int fd) { close(fd); }
static inline int kernel_wait_readable(int fd, int timeout_ms) {
    struct pollfd p = { .fd = fd, .events = POLLIN };
    KERNEL_RESULT(int, poll(&p, 1, timeout_ms));
}

// Listens on every address of the loopback interface, so that all of 127.0.0.0/8 reaches it and nothing else does.
static inline int kernel_listen(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) < 0) { int e = errno; close(fd); return -e; }
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_ANY) } };
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0) { int e = errno; close(fd); return -e; }
    return fd;
}
static inline int kernel_accept(int fd) {
    int accepted = accept(fd, NULL, NULL), on = 1;
    if (accepted < 0) return -errno;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return accepted;
}
static inline void kernel_timeout(int fd, int seconds) {
    struct timeval t = { .tv_sec = seconds };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}
// Connects to a loopback port; the socket blocks for at most ten seconds a call.
static inline int kernel_connect(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) return -errno;
    kernel_timeout(fd, 10);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) { int e = errno; close(fd); return -e; }
    return fd;
}
static inline int kernel_connect_unix(const char *path) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof a.sun_path) return -ENAMETOOLONG;
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    kernel_timeout(fd, 10);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) { int e = errno; close(fd); return -e; }
    return fd;
}
static inline long kernel_receive(int fd, void *to, size_t count, int wait) {
    KERNEL_RESULT(long, recv(fd, to, count, wait ? 0 : MSG_DONTWAIT));
}
static inline long kernel_send(int fd, const void *from, size_t count, int wait) {
    KERNEL_RESULT(long, send(fd, from, count, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)));
}

#endif
