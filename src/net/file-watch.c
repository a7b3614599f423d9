#include "net/file-watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* The loop's inotify instance: users may have few of them (128 for each user of a machine). */
struct hub {
    int fd; /* -1: there is none */
    struct loop_io io;
    struct list watches;
};

struct watched {
    char path[PATH_MAX];
    uint64_t print; /* of the file as it was last told; 0: there was none */
};

struct file_watch {
    struct list link;
    struct loop *loop;
    struct hub *hub;
    loop_fn *fn;
    void *arg;
    struct watched *files;
    size_t n_files;
    struct loop_timer settle, look;
};

static const char hub_key;

static void hub_free(void *arg)
{
    struct hub *h = arg;
    loop_io_stop(&h->io);
    if (h->fd >= 0) {
        close(h->fd);
    }
    free(h);
}

static void on_event(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct hub *h = arg;
    _Alignas(struct inotify_event) char bytes[4096];
    ssize_t n;
    bool any = false;
    while ((n = read(io->fd, bytes, sizeof(bytes))) > 0) {
        any = true;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        loop_io_stop(io);
    }
    /* Which folder it was matters little: looking at a handful of files is cheap. */
    LIST_FOREACH(&h->watches, struct file_watch, link, w)
    {
        if (any && !loop_timer_runs(&w->settle)) {
            loop_timer_start(&w->settle, FILE_WATCH_SETTLE_MS);
        }
    }
}

static struct hub *hub_of(struct loop *l)
{
    struct hub *h = loop_slot(l, &hub_key);
    if (h) {
        return h;
    }
    h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    list_init(&h->watches);
    h->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (h->fd < 0) {
        log_warning("there is no inotify (%s): files that change are found by looking every %d s", strerror(errno),
                    FILE_WATCH_LOOK_BLIND_MS / 1000);
    } else {
        loop_io_init(&h->io, l, h->fd, on_event, h);
        (void)loop_io_set(&h->io, LOOP_READ);
    }
    loop_set_slot(l, &hub_key, h, hub_free);
    return h;
}

/* What a changed file cannot have in common with what was there. 0: there is no file. */
static uint64_t print_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return 0;
    }
    const uint64_t parts[] = { (uint64_t)st.st_dev,          (uint64_t)st.st_ino,          (uint64_t)st.st_size,
                               (uint64_t)st.st_mtim.tv_sec,  (uint64_t)st.st_mtim.tv_nsec, (uint64_t)st.st_ctim.tv_sec,
                               (uint64_t)st.st_ctim.tv_nsec, (uint64_t)st.st_mode,         (uint64_t)st.st_uid };
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        h = (h ^ parts[i]) * 1099511628211u;
    }
    return h ? h : 1;
}

static void watch_folder(struct hub *h, const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof(dir), "%.*s", slash ? (int)MAX(slash - path, 1) : 1, slash ? path : ".");
    (void)!inotify_add_watch(h->fd, dir, IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB | IN_ONLYDIR);
}

/* The folder of the name, and of what the name leads to. */
static void watch_folders(struct hub *h, const char *path)
{
    char real[PATH_MAX];
    if (h->fd < 0) {
        return;
    }
    watch_folder(h, path);
    if (realpath(path, real) && strcmp(real, path) != 0) {
        watch_folder(h, real);
    }
}

static void look(void *arg)
{
    struct file_watch *w = arg;
    bool changed = false;
    loop_timer_stop(&w->settle);
    loop_timer_start(&w->look, w->hub->fd < 0 ? FILE_WATCH_LOOK_BLIND_MS : FILE_WATCH_LOOK_MS);
    for (size_t i = 0; i < w->n_files; i++) {
        struct watched *f = &w->files[i];
        uint64_t print = print_of(f->path);
        if (print && print != f->print) {
            f->print = print;
            changed = true;
            watch_folders(w->hub, f->path); /* the link may lead elsewhere now */
        }
    }
    if (changed) {
        w->fn(w->arg);
    }
}

struct file_watch *file_watch_new(struct loop *l, loop_fn *fn, void *arg)
{
    struct file_watch *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    w->loop = l;
    w->hub = hub_of(l);
    w->fn = fn;
    w->arg = arg;
    list_push_back(&w->hub->watches, &w->link);
    loop_timer_init(&w->settle, l, look, w);
    loop_timer_init(&w->look, l, look, w);
    loop_timer_start(&w->look, w->hub->fd < 0 ? FILE_WATCH_LOOK_BLIND_MS : FILE_WATCH_LOOK_MS);
    return w;
}

void file_watch_add(struct file_watch *w, struct str path)
{
    struct watched f;
    if (str_empty(path) || !str_to_cstr(path, f.path, sizeof(f.path))) {
        return;
    }
    for (size_t i = 0; i < w->n_files; i++) {
        if (strcmp(w->files[i].path, f.path) == 0) {
            return;
        }
    }
    if (w->n_files == FILE_WATCH_MAX) {
        log_warning("%s is not watched: %d files are the most", f.path, FILE_WATCH_MAX);
        return;
    }
    struct watched *files = realloc(w->files, (w->n_files + 1) * sizeof(*files));
    if (!files) {
        abort();
    }
    /* The folder first: a change between the two is seen then. */
    watch_folders(w->hub, f.path);
    f.print = print_of(f.path);
    w->files = files;
    w->files[w->n_files++] = f;
}

struct file_watch *file_watch_free(struct file_watch *w)
{
    if (w) {
        list_remove(&w->link);
        loop_timer_stop(&w->settle);
        loop_timer_stop(&w->look);
        free(w->files);
        free(w);
    }
    return NULL;
}
