/* A library to be preloaded: it counts what a program does to the files below a folder, and lets the n-th
 * act of a kind fail, or ends the process there, whoever asks: Python, Pillow, HDF5 or TensorFlow.
 *
 * What to do stands in a file that all processes of a command map; see `plan.py`, which has the same layout.
 * The C library's own streams (fopen) are seen where they are opened, not where they are written.
 */
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
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum act { OPEN, WRITE, FSYNC, RENAME, UNLINK, MKDIR, ACTS };
enum mode { NEVER, ONCE, FROM_ON, HALF, KILL, HALF_KILL, GONE };

struct plan {
    char below[1024];
    char trace[1024];
    char folder[1024];
    char away[1024];
    int32_t act, number, error, mode;
    _Atomic int32_t fired;
    _Atomic int32_t counts[ACTS];
};

static struct plan *plan;

static void *found(void **place, const char *name) {
    if (!*place)
        *place = dlsym(RTLD_NEXT, name);
    return *place;
}

#define REAL(name) ((__typeof__(&name))found(&real_##name, #name))
#define DECLARE(name) static void *real_##name;

void faults_arm(const char *file) {
    int number = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    if (number < 0)
        return;
    void *place = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, number, 0);
    syscall(SYS_close, number);
    plan = place == MAP_FAILED ? NULL : place;
}

__attribute__((constructor)) static void start(void) {
    const char *file = getenv("BCCLI_FAULTS");
    if (file)
        faults_arm(file);
}

/* The path that a folder's descriptor and a name stand for; 0 where it is not below the plan's folder. */
static int full(int folder, const char *name, char *path) {
    char base[PATH_MAX];
    if (!plan || !name)
        return 0;
    if (name[0] == '/') {
        if (strlen(name) >= PATH_MAX)
            return 0;
        strcpy(path, name);
    } else {
        char link[64];
        if (folder == AT_FDCWD)
            strcpy(link, "/proc/self/cwd");
        else
            sprintf(link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
        if (length < 0 || length + strlen(name) + 2 > PATH_MAX)
            return 0;
        base[length] = 0;
        sprintf(path, "%s/%s", base, name);
    }
    return !strncmp(path, plan->below, strlen(plan->below));
}

static int of_descriptor(int number, char *path) {
    char link[64];
    if (!plan)
        return 0;
    sprintf(link, "/proc/self/fd/%d", number);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return !strncmp(path, plan->below, strlen(plan->below));
}

static void end(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;)
        pause();
}

/* Note an act; what to do: 0 to go on, an error's number to fail, -1 for half of it. */
static int due(enum act act, const char *path) {
    int saved = errno;
    int count = atomic_fetch_add(&plan->counts[act], 1) + 1;
    if (plan->trace[0]) {
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof line, "%d %d %s\n", act, count, path);
        int number = syscall(SYS_openat, AT_FDCWD, plan->trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (number >= 0) {
            syscall(SYS_write, number, line, length);
            syscall(SYS_close, number);
        }
    }
    errno = saved;
    int space = act == OPEN || act == WRITE || act == MKDIR;
    if (plan->mode != NEVER && (int)act == plan->act && count == plan->number) {
        atomic_store(&plan->fired, 1);
        if (plan->mode == KILL)
            end();
        if (plan->mode == GONE) {
            syscall(SYS_renameat, AT_FDCWD, plan->folder, AT_FDCWD, plan->away);
            errno = saved;
            return 0;
        }
        return plan->mode == HALF || plan->mode == HALF_KILL ? -1 : plan->error;
    }
    if (atomic_load(&plan->fired) && (plan->mode == FROM_ON || plan->mode == HALF))
        if (space || (int)act == plan->act)
            return plan->error;
    return 0;
}

#define FAIL(act, path, failure)                                                                           \
    do {                                                                                                   \
        int what_ = due(act, path);                                                                        \
        if (what_ < 0 && plan->mode == HALF_KILL)                                                          \
            end();                                                                                         \
        if (what_) {                                                                                       \
            errno = what_ > 0 ? what_ : plan->error;                                                       \
            return failure;                                                                                \
        }                                                                                                  \
    } while (0)

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPENER(name)                                                                                       \
    DECLARE(name)                                                                                          \
    int name(const char *file, int flags, ...) {                                                           \
        char path[PATH_MAX];                                                                               \
        va_list rest;                                                                                      \
        va_start(rest, flags);                                                                             \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                            \
        va_end(rest);                                                                                      \
        if (writes(flags) && full(AT_FDCWD, file, path))                                                   \
            FAIL(OPEN, path, -1);                                                                          \
        return REAL(name)(file, flags, mode);                                                              \
    }
OPENER(open)
OPENER(open64)

#define OPENER_AT(name)                                                                                    \
    DECLARE(name)                                                                                          \
    int name(int folder, const char *file, int flags, ...) {                                               \
        char path[PATH_MAX];                                                                               \
        va_list rest;                                                                                      \
        va_start(rest, flags);                                                                             \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                            \
        va_end(rest);                                                                                      \
        if (writes(flags) && full(folder, file, path))                                                     \
            FAIL(OPEN, path, -1);                                                                          \
        return REAL(name)(folder, file, flags, mode);                                                      \
    }
OPENER_AT(openat)
OPENER_AT(openat64)

#define STREAM(name)                                                                                       \
    DECLARE(name)                                                                                          \
    FILE *name(const char *file, const char *mode) {                                                       \
        char path[PATH_MAX];                                                                               \
        if (strpbrk(mode, "wa+") && full(AT_FDCWD, file, path))                                            \
            FAIL(OPEN, path, NULL);                                                                        \
        return REAL(name)(file, mode);                                                                     \
    }
STREAM(fopen)
STREAM(fopen64)

/* The half of a write happens and is reported; what follows fails. */
#define WRITER(name, parameters, arguments, halved)                                                        \
    DECLARE(name)                                                                                          \
    ssize_t name parameters {                                                                              \
        char path[PATH_MAX];                                                                               \
        if (of_descriptor(number, path)) {                                                                 \
            int what = due(WRITE, path);                                                                   \
            if (what > 0 || (what < 0 && size < 2 && plan->mode == HALF)) {                                \
                errno = what > 0 ? what : plan->error;                                                     \
                return -1;                                                                                 \
            }                                                                                              \
            if (what < 0) {                                                                                \
                ssize_t done = REAL(name) halved;                                                          \
                if (plan->mode == HALF_KILL)                                                               \
                    end();                                                                                 \
                return done;                                                                               \
            }                                                                                              \
        }                                                                                                  \
        return REAL(name) arguments;                                                                       \
    }
WRITER(write, (int number, const void *data, size_t size), (number, data, size), (number, data, size / 2))
WRITER(pwrite, (int number, const void *data, size_t size, off_t at), (number, data, size, at),
       (number, data, size / 2, at))
WRITER(pwrite64, (int number, const void *data, size_t size, off64_t at), (number, data, size, at),
       (number, data, size / 2, at))
WRITER(writev, (int number, const struct iovec *data, int size), (number, data, size),
       (number, data, size > 1 ? size / 2 : 1))
WRITER(sendfile, (int number, int from, off_t *at, size_t size), (number, from, at, size),
       (number, from, at, size / 2))
WRITER(sendfile64, (int number, int from, off64_t *at, size_t size), (number, from, at, size),
       (number, from, at, size / 2))

#define BY_DESCRIPTOR(name, act, parameters, arguments)                                                    \
    DECLARE(name)                                                                                          \
    int name parameters {                                                                                  \
        char path[PATH_MAX];                                                                               \
        if (of_descriptor(number, path))                                                                   \
            FAIL(act, path, -1);                                                                           \
        return REAL(name) arguments;                                                                       \
    }
BY_DESCRIPTOR(fsync, FSYNC, (int number), (number))
BY_DESCRIPTOR(syncfs, FSYNC, (int number), (number))
BY_DESCRIPTOR(fdatasync, FSYNC, (int number), (number))
BY_DESCRIPTOR(ftruncate, WRITE, (int number, off_t size), (number, size))
BY_DESCRIPTOR(ftruncate64, WRITE, (int number, off64_t size), (number, size))

#define BY_NAME(name, act, folder, file, parameters, arguments)                                            \
    DECLARE(name)                                                                                          \
    int name parameters {                                                                                  \
        char path[PATH_MAX];                                                                               \
        if (full(folder, file, path))                                                                      \
            FAIL(act, path, -1);                                                                           \
        return REAL(name) arguments;                                                                       \
    }
BY_NAME(rename, RENAME, AT_FDCWD, to, (const char *from, const char *to), (from, to))
BY_NAME(renameat, RENAME, there, to, (int here, const char *from, int there, const char *to),
        (here, from, there, to))
BY_NAME(link, RENAME, AT_FDCWD, to, (const char *from, const char *to), (from, to))
BY_NAME(symlink, RENAME, AT_FDCWD, to, (const char *from, const char *to), (from, to))
BY_NAME(unlink, UNLINK, AT_FDCWD, file, (const char *file), (file))
BY_NAME(remove, UNLINK, AT_FDCWD, file, (const char *file), (file))
BY_NAME(rmdir, UNLINK, AT_FDCWD, file, (const char *file), (file))
BY_NAME(unlinkat, UNLINK, folder, file, (int folder, const char *file, int flags), (folder, file, flags))
BY_NAME(mkdir, MKDIR, AT_FDCWD, file, (const char *file, mode_t mode), (file, mode))
BY_NAME(mkdirat, MKDIR, folder, file, (int folder, const char *file, mode_t mode), (folder, file, mode))
