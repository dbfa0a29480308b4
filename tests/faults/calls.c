/* Preloaded into a process under test (LD_PRELOAD): logs each call that changes files below a folder, and makes the
   k-th one fail or be the last. It stands between libc and whoever calls it: Python, Arrow, Rust alike.

   calls_arm(root, log, k, error, lasting): count calls below `root` from now on, write each to the descriptor `log`
   (-1: none); at number `k` (from 1; 0: never) return `error`, or end the process as `kill -9` does where it is 0;
   with `lasting` each later call fails too. Only those calls fail that can fail so: EMFILE is for `open` alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[4096];
static int log_to = -1, fault_at, fault_errno, lasting, count;

void calls_arm(const char *folder, int log, int k, int error, int stays) {
    strncpy(root, folder, sizeof root - 1);
    log_to = log, fault_at = k, fault_errno = error, lasting = stays, count = 0;
}

static int can_fail(const char *name) {
    if (fault_errno == EMFILE)
        return !strcmp(name, "open");
    if (!strcmp(name, "unlink")) /* a full disk lets us delete, a read-only one does not */
        return fault_errno == EROFS || fault_errno == 0;
    if (fault_errno == EROFS) /* what is open already can still be written */
        return strcmp(name, "write") && strcmp(name, "fsync");
    return 1;
}

/* Count a call; non-zero if it is to fail. */
static int meets_fault(const char *name, const char *path) {
    if (!root[0] || strncmp(path, root, strlen(root)) || !can_fail(name))
        return 0;
    count++;
    if (log_to >= 0)
        dprintf(log_to, "%s %s\n", name, path[strlen(root)] ? path + strlen(root) + 1 : ".");
    if (!fault_at || count < fault_at || (count > fault_at && !lasting))
        return 0;
    if (!fault_errno)
        kill(getpid(), SIGKILL);
    errno = fault_errno;
    return 1;
}

static int fd_meets_fault(const char *name, int fd) {
    char link[64], path[4096];
    if (!root[0] || fd == log_to)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return meets_fault(name, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *buffer, size_t n) {
    return fd_meets_fault("write", fd) ? -1 : REAL(write)(fd, buffer, n);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    return fd_meets_fault("write", fd) ? -1 : REAL(writev)(fd, parts, n);
}
int fsync(int fd) { return fd_meets_fault("fsync", fd) ? -1 : REAL(fsync)(fd); }
int rename(const char *from, const char *to) { return meets_fault("rename", from) ? -1 : REAL(rename)(from, to); }
int symlink(const char *to, const char *path) { return meets_fault("symlink", path) ? -1 : REAL(symlink)(to, path); }
int mkdir(const char *path, mode_t mode) { return meets_fault("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }
int unlink(const char *path) { return meets_fault("unlink", path) ? -1 : REAL(unlink)(path); }
int rmdir(const char *path) { return meets_fault("unlink", path) ? -1 : REAL(rmdir)(path); }
int unlinkat(int folder, const char *path, int flags) {
    char link[64], whole[8192];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t n = path[0] == '/' || folder == AT_FDCWD ? 0 : readlink(link, whole, 4095);
    if (n > 0)
        whole[n++] = '/';
    snprintf(whole + (n > 0 ? n : 0), 4096, "%s", path);
    return meets_fault("unlink", whole) ? -1 : REAL(unlinkat)(folder, path, flags);
}

/* Every `open` for EMFILE, else only those that create. */
static int open_meets_fault(const char *path, int flags) {
    return (fault_errno == EMFILE || flags & O_CREAT) && meets_fault("open", path);
}
#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return open_meets_fault(path, flags) ? -1 : REAL(name)(path, flags, mode);                                     \
    }
OPEN(open)
OPEN(open64)
