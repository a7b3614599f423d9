/* What dockerd says, read: small helpers over its JSON. */
#include "kubelet/docker-private.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"

int64_t docker_time(struct str s)
{
    int64_t sec;
    uint32_t ns;
    if (!clock_parse_rfc3339(s, &sec, &ns) || sec <= 0 || sec > INT64_MAX / 1000000000 - 1) {
        return 0;
    }
    return sec * 1000000000 + ns;
}

int64_t docker_int(const struct val *v, const char *key)
{
    int64_t i;
    return val_as_i64(val_get(v, str_c(key)), &i) ? i : 0;
}

bool docker_bool(const struct val *v, const char *key)
{
    const struct val *b = val_get(v, str_c(key));
    return val_is(b, VAL_BOOL) && b->b;
}

struct str docker_str(const struct val *v, const char *key)
{
    return val_get_str(v, str_c(key));
}

static bool own(struct str key)
{
    return str_eq_c(key, DOCKER_LABEL_TYPE) || str_eq_c(key, DOCKER_LABEL_SANDBOX) || str_eq_c(key, DOCKER_LABEL_LOG) ||
           str_eq_c(key, DOCKER_LABEL_IMAGE);
}

bool docker_labels(struct arena *a, const struct val *labels, struct api_str_pair **ret, size_t *ret_n, struct api_str_pair **ret_annotations,
                   size_t *ret_n_annotations)
{
    size_t n = val_is(labels, VAL_OBJECT) ? labels->n : 0;
    const struct str prefix = STR(DOCKER_ANNOTATION);
    *ret_n = *ret_n_annotations = 0;
    *ret = arena_new_n(a, struct api_str_pair, n + 1);
    *ret_annotations = arena_new_n(a, struct api_str_pair, n + 1);
    if (!*ret || !*ret_annotations) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct val_member *m = &labels->members[i];
        struct str value = val_as_str(&m->value);
        if (str_starts(m->key, prefix)) {
            (*ret_annotations)[(*ret_n_annotations)++] = (struct api_str_pair){ str_sub(m->key, prefix.len, m->key.len), value };
        } else if (!own(m->key)) {
            (*ret)[(*ret_n)++] = (struct api_str_pair){ m->key, value };
        }
    }
    return true;
}

bool docker_name_parse(struct str name, struct str ret_parts[4], uint32_t *ret_attempt)
{
    struct str rest = name, part;
    uint64_t attempt;
    if (str_starts(rest, STR("/"))) {
        rest = str_sub(rest, 1, rest.len);
    }
    if (!str_split(&rest, '_', &part) || !str_eq_c(part, "k8s")) {
        return false;
    }
    for (size_t i = 0; i < 4; i++) {
        if (!str_split(&rest, '_', &ret_parts[i])) {
            return false;
        }
    }
    /* A further part is there when the name was taken: see docker_container_name(). */
    if (!str_split(&rest, '_', &part) || !str_to_u64(part, &attempt) || attempt > UINT32_MAX) {
        return false;
    }
    *ret_attempt = (uint32_t)attempt;
    return true;
}

bool docker_owns_pid(int64_t pid, struct str container)
{
    char path[64];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 65536);
    if (pid <= 0 || container.len < 12) {
        return false;
    }
    snprintf(path, sizeof(path), "/proc/%lld/cgroup", (long long)pid);
    return fs_read(path, 65536, &b, NULL) && str_find(buf_str(&b), container) >= 0;
}
