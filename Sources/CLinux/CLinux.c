// What cannot be a static inline function of the header, because it needs declarations that glibc keeps under _GNU_SOURCE.
#define _GNU_SOURCE
#include <sys/random.h>
#include <sys/socket.h>
#include "CLinux.h"

int clinux_accept(int fd, void *address, uint32_t *length) {
    socklen_t l = *length;
    int r = accept4(fd, (struct sockaddr *)address, &l, SOCK_NONBLOCK | SOCK_CLOEXEC);
    *length = l;
    return r < 0 ? -errno : r;
}

int clinux_random(void *buffer, size_t count) {
    ssize_t r = getrandom(buffer, count, 0);
    return r < 0 ? -errno : (int)r;
}

int clinux_peer_user(int fd) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 ? -1 : (int)peer.uid;
}

int clinux_user_name(uint32_t user, char *buffer, size_t count) {
    struct passwd entry, *found = NULL;
    char texts[4096];
    int r = getpwuid_r((uid_t)user, &entry, texts, sizeof texts, &found);
    if (r != 0) { return -r; }
    if (found == NULL) { return -ENOENT; }
    size_t length = strlen(found->pw_name);
    if (length >= count) { return -ENOBUFS; }
    memcpy(buffer, found->pw_name, length + 1);
    return (int)length;
}
