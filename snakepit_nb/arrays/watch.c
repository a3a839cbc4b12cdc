/* The watcher: a thread that ends this process when the other end of a descriptor is gone, and that sends back
 * what comes by a socket: whoever is at the other end knows by that that the process is alive.
 *
 * It has a descriptor of its own, so that code which closes the number that it was given does not blind it.
 *
 * It needs nothing from Python, so it also ends a process whose code never lets go of Python's global lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#define FACE __attribute__((visibility("default")))

/* The pid that has a watcher: a child of a fork has none of its parent's threads. */
static _Atomic int watched_by;

/* Send back what came; false where the other end is gone. */
static int echo(int fd) {
    char told[64];
    ssize_t length = recv(fd, told, sizeof told, MSG_DONTWAIT);
    if (length > 0)
        (void)send(fd, told, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

static void *watch(void *argument) {
    intptr_t both = (intptr_t)argument;
    struct pollfd end = {.fd = (int)(both >> 8), .events = POLLRDHUP};
    int kind;
    socklen_t length = sizeof kind;
    if (getsockopt(end.fd, SOL_SOCKET, SO_TYPE, &kind, &length) == 0)
        end.events |= POLLIN;
    for (;;) {
        int ready = poll(&end, 1, -1);
        if (ready < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOMEM))
            continue;
        if (ready < 0 || end.revents & POLLNVAL)
            return NULL;
        if (end.revents & (POLLHUP | POLLRDHUP | POLLERR))
            _exit((int)(both & 0xff));
        if (end.revents & POLLIN && !echo(end.fd))
            _exit((int)(both & 0xff));
    }
}

/* 1 where the watcher runs now, 0 where this process has one already, -1 where the system refuses one. */
FACE int snakepit_watch(int fd, int exit_code) {
    int pid = (int)getpid(), before = atomic_load(&watched_by);
    if (before == pid || !atomic_compare_exchange_strong(&watched_by, &before, pid))
        return 0;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        atomic_store(&watched_by, 0);
        return -1;
    }
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, (size_t)128 << 10);
    sigset_t none, all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &none);
    intptr_t both = ((intptr_t)own << 8) | (exit_code & 0xff);
    int failed = pthread_create(&thread, &attributes, watch, (void *)both);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    pthread_attr_destroy(&attributes);
    if (failed) {
        close(own);
        atomic_store(&watched_by, 0);
    }
    return failed ? -1 : 1;
}
