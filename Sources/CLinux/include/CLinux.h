// Static inline wrappers over the Linux system calls the engine makes. Each returns what the call returns, or -errno:
// one number, so that Swift never reads errno after the fact. No policy lives here.
// Called by Engine/Loop/LinuxKernel.swift and by Control; nothing here may allocate or keep state.
#ifndef SWITCHBACK_CLINUX_H
#define SWITCHBACK_CLINUX_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <pthread.h>
#include <sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLINUX_RESULT(type, call) do { type r_ = (type)(call); return r_ < 0 ? (type)-errno : r_; } while (0)

static inline int clinux_epoll_create(void) { CLINUX_RESULT(int, epoll_create1(EPOLL_CLOEXEC)); }

static inline int clinux_epoll_add(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event e = { .events = events, .data = { .u64 = data } };
    CLINUX_RESULT(int, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
}
static inline int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event e = { .events = events, .data = { .u64 = data } };
    CLINUX_RESULT(int, epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e));
}
static inline int clinux_epoll_remove(int epoll, int fd) {
    struct epoll_event e = { 0 };
    CLINUX_RESULT(int, epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &e));
}
// Waiting, receiving, sending and writing go to the kernel directly: glibc's functions are cancellation points, which costs a
// program with threads more than all the rest of the call on this side, and no thread here is ever cancelled. The kernel returns
// -errno by itself.
static inline long clinux_call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
    CLINUX_RESULT(long, syscall(number, a, b, c, d, e, f));
#endif
}
static inline int clinux_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms) {
#ifdef SYS_epoll_wait
    return (int)clinux_call(SYS_epoll_wait, epoll, (long)events, count, timeout_ms, 0, 0);
#else
    return (int)clinux_call(SYS_epoll_pwait, epoll, (long)events, count, timeout_ms, 0, 8);
#endif
}

static inline int clinux_socket(int family, int type) {
    CLINUX_RESULT(int, socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}
static inline int clinux_bind(int fd, const void *address, uint32_t length) {
    CLINUX_RESULT(int, bind(fd, (const struct sockaddr *)address, (socklen_t)length));
}
static inline int clinux_listen(int fd, int backlog) { CLINUX_RESULT(int, listen(fd, backlog)); }
static inline int clinux_connect(int fd, const void *address, uint32_t length) {
    CLINUX_RESULT(int, connect(fd, (const struct sockaddr *)address, (socklen_t)length));
}
// Fills `address` with up to *length bytes. accept4 is declared only under _GNU_SOURCE, which clashes with SwiftGlibc.
int clinux_accept(int fd, void *address, uint32_t *length);
static inline ssize_t clinux_recv(int fd, void *buffer, size_t count, int flags) {
    return clinux_call(SYS_recvfrom, fd, (long)buffer, (long)count, flags, 0, 0);
}
static inline ssize_t clinux_send(int fd, const void *buffer, size_t count, int flags) {
    return clinux_call(SYS_sendto, fd, (long)buffer, (long)count, flags | MSG_NOSIGNAL, 0, 0);
}
static inline int clinux_shutdown(int fd, int how) { CLINUX_RESULT(int, shutdown(fd, how)); }
static inline int clinux_close(int fd) { CLINUX_RESULT(int, close(fd)); }
static inline int clinux_set_option(int fd, int level, int name, int value) {
    CLINUX_RESULT(int, setsockopt(fd, level, name, &value, sizeof value));
}
static inline int clinux_set_congestion_control(int fd, const char *name) {
    CLINUX_RESULT(int, setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)));
}
static inline int clinux_set_linger(int fd, int on, int seconds) {
    struct linger l = { .l_onoff = on, .l_linger = seconds };
    CLINUX_RESULT(int, setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
}
static inline int clinux_get_option(int fd, int level, int name) {
    int value = 0; socklen_t length = sizeof value;
    return getsockopt(fd, level, name, &value, &length) < 0 ? -errno : value;
}
static inline int clinux_socket_name(int fd, void *address, uint32_t *length) {
    socklen_t l = *length;
    int r = getsockname(fd, (struct sockaddr *)address, &l);
    *length = l;
    return r < 0 ? -errno : 0;
}

static inline int clinux_eventfd(void) { CLINUX_RESULT(int, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

// O_TMPFILE, whose value differs between processors and whose public name hides behind _GNU_SOURCE.
static inline int clinux_unnamed_temporary(void) { return __O_TMPFILE; }
static inline int clinux_open(const char *path, int flags, mode_t mode) { CLINUX_RESULT(int, open(path, flags | O_CLOEXEC, mode)); }
static inline ssize_t clinux_read(int fd, void *buffer, size_t count) { CLINUX_RESULT(ssize_t, read(fd, buffer, count)); }
static inline ssize_t clinux_write(int fd, const void *buffer, size_t count) {
    return clinux_call(SYS_write, fd, (long)buffer, (long)count, 0, 0, 0);
}
static inline ssize_t clinux_pread(int fd, void *buffer, size_t count, int64_t offset) {
    CLINUX_RESULT(ssize_t, pread(fd, buffer, count, (off_t)offset));
}
static inline ssize_t clinux_pwrite(int fd, const void *buffer, size_t count, int64_t offset) {
    CLINUX_RESULT(ssize_t, pwrite(fd, buffer, count, (off_t)offset));
}
static inline ssize_t clinux_sendfile(int socket, int file, int64_t *offset, size_t count) {
    off_t o = (off_t)*offset;
    ssize_t r = sendfile(socket, file, &o, count);
    *offset = o;
    return r < 0 ? -errno : r;
}
static inline int clinux_unlink(const char *path) { CLINUX_RESULT(int, unlink(path)); }
static inline int clinux_rename(const char *from, const char *to) { CLINUX_RESULT(int, rename(from, to)); }
static inline int clinux_make_folder(const char *path, mode_t mode) { CLINUX_RESULT(int, mkdir(path, mode)); }
static inline int clinux_truncate(int fd, int64_t size) { CLINUX_RESULT(int, ftruncate(fd, (off_t)size)); }
// The bytes and the size of a file on stable storage.
static inline int clinux_sync_data(int fd) { CLINUX_RESULT(int, fdatasync(fd)); }
// The same with all that is known of the file; for a folder: its entries.
static inline int clinux_sync(int fd) { CLINUX_RESULT(int, fsync(fd)); }
// The whole file for this open file alone, or -EWOULDBLOCK. The kernel gives the lock back when the process ends, however it ends.
static inline int clinux_lock_file(int fd) { CLINUX_RESULT(int, flock(fd, LOCK_EX | LOCK_NB)); }

// What the engine asks of a file before it serves it.
struct clinux_file_facts { int64_t size; int64_t modified_seconds; int64_t modified_ns; uint64_t inode; uint32_t mode; };
static inline int clinux_file_facts(int fd, struct clinux_file_facts *facts) {
    struct stat s;
    if (fstat(fd, &s) < 0) { return -errno; }
    facts->size = s.st_size; facts->modified_seconds = s.st_mtim.tv_sec; facts->mode = s.st_mode;
    facts->modified_ns = s.st_mtim.tv_nsec; facts->inode = s.st_ino;
    return 0;
}

// 1: the name leads to the file that `fd` is, and not by a link. 0: to another.
static inline int clinux_leads(const char *path, int fd) {
    struct stat named, opened;
    if (lstat(path, &named) < 0 || fstat(fd, &opened) < 0) { return -errno; }
    return named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

// From here on `fd` is what `fresh` is, in one step for whoever uses it meanwhile.
static inline int clinux_replace(int fresh, int fd) { return (int)clinux_call(SYS_dup3, fresh, fd, O_CLOEXEC, 0, 0, 0); }
static inline int clinux_duplicate(int fd) { CLINUX_RESULT(int, fcntl(fd, F_DUPFD_CLOEXEC, 3)); }
static inline int clinux_processors(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }
static inline int clinux_user_exists(const char *name) { return getpwnam(name) != NULL; }
static inline int clinux_group_exists(const char *name) { return getgrnam(name) != NULL; }
static inline void clinux_sleep_ms(int ms) {
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
    nanosleep(&t, NULL);
}
// /dev/null on whichever of the descriptors 0 to 2 is closed. open takes the lowest free number, so counting up is enough.
static inline void clinux_open_missing_descriptors(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0) { (void)open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY); }
    }
}
// A session of its own, with standard input and output on /dev/null.
static inline void clinux_detach(void) {
    setsid();
    int null = open("/dev/null", O_RDWR);
    if (null < 0) { return; }
    dup2(null, 0);
    dup2(null, 1);
    if (null > 2) { close(null); }
}
// Writes that nobody reads, or beyond the size a file may have (ulimit -f), are errors of their calls and end nobody.
static inline void clinux_ignore_write_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}
// fork is hidden from Swift; called before any thread is started.
static inline int clinux_fork(void) { return (int)fork(); }
// Gives up root for good: group, supplementary groups, user. `group` may be NULL: the user's own.
// Makes a file the user's, who may have to write it later without being root.
static inline int clinux_give(const char *path, const char *user, const char *group) {
    struct passwd *p = getpwnam(user);
    if (p == NULL) { return -ENOENT; }
    struct group *g = group != NULL ? getgrnam(group) : NULL;
    CLINUX_RESULT(int, lchown(path, p->pw_uid, g != NULL ? g->gr_gid : p->pw_gid));
}
static inline int clinux_become(const char *user, const char *group) {
    struct passwd *p = getpwnam(user);
    if (p == NULL) { return -ENOENT; }
    gid_t gid = p->pw_gid;
    uid_t uid = p->pw_uid;
    if (group != NULL) {
        struct group *g = getgrnam(group);
        if (g == NULL) { return -ENOENT; }
        gid = g->gr_gid;
    }
    if (setgid(gid) < 0 || initgroups(user, gid) < 0 || setuid(uid) < 0) { return -errno; }
    return 0;
}
static inline int clinux_set_descriptors_max(uint64_t n) {
    struct rlimit limit = { n, n };
    CLINUX_RESULT(int, setrlimit(RLIMIT_NOFILE, &limit));
}
// Minutes east of UTC now.
static inline int clinux_utc_offset_minutes(void) {
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    return (int)(local.tm_gmtoff / 60);
}

// The calling thread's share of a processor comes in slices of `ns` from now on: a thread that wakes for short work gets its turn
// sooner beside busy ones (Linux 6.12; before that nothing changes).
static inline int clinux_set_slice(uint64_t ns) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = { 0 };
    if (syscall(SYS_sched_getattr, 0, &attributes, (uint32_t)sizeof attributes, 0) < 0) return -errno;
    attributes.size = sizeof attributes;
    attributes.runtime = ns;
    CLINUX_RESULT(int, syscall(SYS_sched_setattr, 0, &attributes, 0));
}

// A number of the calling thread, not 0.
static inline intptr_t clinux_thread(void) { return (intptr_t)pthread_self(); }

static inline uint64_t clinux_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static inline int64_t clinux_realtime_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_nsec;
}
// The user at the other end of a unix socket, or -1.
int clinux_peer_user(int fd);

// The name of a user, ended by 0; its length, or -errno.
int clinux_user_name(uint32_t user, char *buffer, size_t count);

// Counters that one thread writes and others read: relaxed, without a locked instruction.
static inline void clinux_count_add(uint64_t *cell, uint64_t n) {
    __atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void clinux_count_set(uint64_t *cell, uint64_t n) { __atomic_store_n(cell, n, __ATOMIC_RELEASE); }
static inline uint64_t clinux_count_read(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_ACQUIRE); }

// A program to be spawned gets no descriptor from `first` on. 0 or an error number.
int clinux_spawn_close_from(posix_spawn_file_actions_t *actions, int first);

// Runs a program, standard input and error /dev/null, signals as a shell has them. `texts`: `count` words, the path first, each with a 0
// behind it. Its pid, and the end of a pipe that its output comes through; or -errno.
int clinux_run(const uint8_t *texts, int count, int *output);
// Waits so long for its end, then kills it. The exit status; 128 and more: the signal that ended it.
int clinux_reap(int pid, int ms);
// 0: the time is up.
int clinux_wait_readable(int fd, int ms);

// Fills the buffer with the kernel's random bytes, or returns -errno.
int clinux_random(void *buffer, size_t count);

#endif
