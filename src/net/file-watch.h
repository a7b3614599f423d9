/*
 * Says when files change: certificates, keys, CA bundles, tokens and kubeconfigs that others renew while we run.
 *
 * Their folders are watched by inotify (one instance for each loop), so a file that is replaced, and a symbolic link that is
 * turned to another one (cert-manager, projected volumes, kubelet-client-current.pem), are seen at once; a look every half minute
 * finds what inotify cannot see, and every two seconds where there is no inotify. What arrives within FILE_WATCH_SETTLE_MS is told
 * once, since a certificate and its key are two files. A file that vanishes is not told: whoever replaces it is not done.
 *
 * 'fn' reads the files again; when what it finds does not fit together (half of a pair is new) it keeps what it has and says so in
 * the log: the other half's change calls it again. Belongs to the loop's thread.
 */
#ifndef NET_FILE_WATCH_H
#define NET_FILE_WATCH_H

#include "net/loop.h"

/* Nobody has more; the rest is said in the log and not watched. */
#define FILE_WATCH_MAX 32
#define FILE_WATCH_SETTLE_MS 100
#define FILE_WATCH_LOOK_MS 30000
#define FILE_WATCH_LOOK_BLIND_MS 2000

struct file_watch;

/* Never NULL. */
struct file_watch *file_watch_new(struct loop *l, loop_fn *fn, void *arg);
/* Watches this file too, which need not exist yet. An empty path and one that is watched already are fine. */
void file_watch_add(struct file_watch *w, struct str path);
/* Safe inside 'fn'. NULL-safe; before loop_free(). */
struct file_watch *file_watch_free(struct file_watch *w);

#endif
