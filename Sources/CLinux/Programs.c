// Programs that are run and waited for. What each call is for is told in the header.
#define _GNU_SOURCE
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include "CLinux.h"

extern char **environ;

int clinux_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int clinux_run(const uint8_t *texts, int count, int *output) {
    char *words[65];
    int ends[2];
    if (count < 1 || count > 64) { return -EINVAL; }
    for (int i = 0; i < count; i++) {
        words[i] = (char *)texts;
        texts += strlen((const char *)texts) + 1;
    }
    words[count] = NULL;
    if (pipe2(ends, O_CLOEXEC) < 0) { return -errno; }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    // A group of its own, so that what it starts goes with it.
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    pid_t pid = 0;
    int r = posix_spawn(&pid, words[0], &actions, &attributes, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (r != 0) {
        close(ends[0]);
        return -r;
    }
    *output = ends[0];
    return (int)pid;
}

int clinux_reap(int pid, int ms) {
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (ms <= 0) {
            kill(-pid, SIGKILL);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
            break;
        }
        clinux_sleep_ms(5);
        ms -= 5;
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int clinux_wait_readable(int fd, int ms) {
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    return poll(&wanted, 1, ms) != 0;
}
