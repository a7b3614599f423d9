/* Images: looked up, pulled, listed, removed. */
#include "kubelet/docker-private.h"

#include <stdlib.h>

#include "base/encoding.h"
#include "kubelet/limits.h"

static bool none(struct str name)
{
    return str_starts(name, STR("<none>"));
}

static bool names(struct arena *a, const struct val *list, struct str **ret, size_t *ret_n)
{
    size_t n = val_is(list, VAL_ARRAY) ? list->n : 0;
    *ret_n = 0;
    *ret = arena_new_n(a, struct str, n + 1);
    for (size_t i = 0; *ret && i < n; i++) {
        struct str name = val_as_str(&list->items[i]);
        if (name.len && !none(name)) {
            (*ret)[(*ret_n)++] = name;
        }
    }
    return *ret != NULL;
}

/* "1000", "1000:1000", "www", "" */
static bool user(struct arena *a, struct str text, struct cri_v1_image *im)
{
    struct str name, group;
    int64_t uid;
    (void)str_cut(text, ':', &name, &group);
    if (!name.len) {
        return true;
    }
    if (!str_to_i64(name, &uid)) {
        im->username = name;
        return true;
    }
    im->uid = arena_new(a, struct cri_v1_int64_value);
    if (im->uid) {
        im->uid->value = uid;
    }
    return im->uid != NULL;
}

static bool image_of(struct arena *a, const struct val *v, struct cri_v1_image *im)
{
    int64_t size = docker_int(v, "Size");
    im->id = docker_str(v, "Id");
    im->size = size > 0 ? (uint64_t)size : 0;
    return names(a, val_get(v, STR("RepoTags")), &im->repo_tags, &im->n_repo_tags) &&
           names(a, val_get(v, STR("RepoDigests")), &im->repo_digests, &im->n_repo_digests) && user(a, VAL_STR_AT(v, "Config", "User"), im);
}

/* ---- status ---- */

static void on_status(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    struct cri_v1_image_status_response *r;
    if (a->err && !docker_absent(a)) {
        docker_fail(c, a->err);
        return;
    }
    if (a->err) {
        if ((r = docker_response(c))) {
            docker_done(c, r);
        }
        return;
    }
    if (!docker_json(c, a, &v) || !(r = docker_response(c))) {
        return;
    }
    r->image = arena_new(&c->a, struct cri_v1_image);
    if (!r->image || !image_of(&c->a, &v, r->image)) {
        docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
        return;
    }
    docker_done(c, r);
}

/* An image's name, as dockerd takes it in a path; empty or with odd characters it would be another request. */
static bool good_name(struct runtime_call *c, const struct cri_v1_image_spec *spec, struct str *ret)
{
    struct str name = spec ? spec->image : STR_NULL;
    bool good = name.len && name.len < 1024 && name.ptr[0] != '/' && name.ptr[0] != '.' && str_find(name, STR("..")) < 0 && str_find(name, STR("//")) < 0;
    for (size_t i = 0; good && i < name.len; i++) {
        char x = name.ptr[i];
        good = (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9') || strchr("._-:/@+", x);
    }
    if (!good) {
        docker_fail_with(c, ERR_BAD_REQUEST, "\"%.*s\" is no image's name: invalid reference format", (int)MIN(name.len, (size_t)200), name.ptr ? name.ptr : "");
        return false;
    }
    *ret = name;
    return true;
}

void docker_image_status(struct runtime_call *c)
{
    const struct cri_v1_image_status_request *q = c->request;
    struct str name;
    if (good_name(c, q->image, &name)) {
        docker_ask(c, "GET", docker_path(&c->a, "/images/", name, "/json"), STR_EMPTY, on_status);
    }
}

/* ---- list ---- */

static void on_list(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    struct cri_v1_list_images_response *r;
    if (!docker_json(c, a, &v) || !(r = docker_response(c))) {
        return;
    }
    size_t n = val_is(&v, VAL_ARRAY) ? v.n : 0;
    r->images = arena_new_n(&c->a, struct cri_v1_image, n + 1);
    for (size_t i = 0; r->images && i < n; i++) {
        if (image_of(&c->a, &v.items[i], &r->images[r->n_images])) {
            struct cri_v1_image *im = &r->images[r->n_images++];
            for (size_t k = 0; k < im->n_repo_tags; k++) {
                im->pinned = im->pinned || str_eq(im->repo_tags[k], c->d->options.pause_image);
            }
        }
    }
    docker_done(c, r);
}

void docker_list_images(struct runtime_call *c)
{
    docker_ask(c, "GET", STR("/images/json"), STR_EMPTY, on_list);
}

/* ---- pull ---- */

/* dockerd tells how a pull goes in JSON values, one after the other; the last one that is an error counts. */
struct pull {
    struct str image;
    void (*next)(struct runtime_call *c, const struct err *err);
    void *before;
    void (*before_drop)(struct runtime_call *c);
    struct buf line;
    struct err err;
};

static void drop_pull(struct runtime_call *c)
{
    struct pull *p = c->state;
    buf_deinit(&p->line);
    if (p->before_drop) {
        c->state = p->before;
        p->before_drop(c);
    }
}

static void take_line(struct pull *p, struct str line)
{
    struct arena a;
    struct val v;
    arena_init(&a, 1u << 20);
    if (val_parse_json(&a, line, DOCKER_JSON_DEPTH, NULL, &v, NULL)) {
        struct str text = docker_str(val_get(&v, STR("errorDetail")), "message");
        text = str_sub(text.len ? text : docker_str(&v, "error"), 0, 800);
        if (text.len) {
            (void)err_set(&p->err, ERR_UNAVAILABLE, "%.*s", STR_ARG(text));
        }
    }
    arena_deinit(&a);
}

static void on_progress(void *arg, struct str bytes)
{
    struct runtime_call *c = arg;
    struct pull *p = c->state;
    struct str piece;
    while (bytes.len) {
        bool whole = str_cut(bytes, '\n', &piece, &bytes);
        if (!whole) {
            bytes = STR_EMPTY;
        }
        buf_append(&p->line, piece);
        if (whole) {
            take_line(p, str_trim(buf_str(&p->line)));
            buf_clear(&p->line);
        }
    }
}

static void on_pulled(struct runtime_call *c, const struct docker_answer *a)
{
    struct pull *p = c->state;
    struct err err = a->err ? *a->err : p->err;
    if (err.code == ERR_NOT_FOUND) {
        err.code = ERR_UNAVAILABLE; /* of the registry: nothing of ours is missing */
    }
    void (*next)(struct runtime_call *c, const struct err *err) = p->next;
    if (p->line.len && !a->err) {
        take_line(p, str_trim(buf_str(&p->line)));
        err = p->err;
    }
    buf_deinit(&p->line);
    c->state = p->before;
    c->drop = p->before_drop;
    next(c, err.code != ERR_NONE ? &err : NULL);
}

static struct str auth_header(struct arena *a, const struct cri_v1_auth_config *auth)
{
    CLEANUP(buf_deinit) struct buf b = { 0 }, text = { 0 };
    if (!auth) {
        return STR_EMPTY;
    }
    buf_init(&b, 65536);
    buf_init(&text, 131072);
    buf_append_char(&b, '{');
    dj_str(&b, "username", auth->username);
    dj_str(&b, "password", auth->password);
    dj_str(&b, "auth", auth->auth);
    dj_str(&b, "serveraddress", auth->server_address);
    dj_str(&b, "identitytoken", auth->identity_token);
    dj_str(&b, "registrytoken", auth->registry_token);
    buf_append_char(&b, '}');
    base64url_encode(&text, buf_str(&b));
    while (text.len % 4) {
        buf_append_char(&text, '='); /* dockerd's decoder wants it */
    }
    return arena_str(a, buf_str(&text));
}

/* "host:5000/team/app:1" -> the repository and "1"; a digest stands in the tag's place. */
static void split(struct str image, struct str *repo, struct str *tag)
{
    ptrdiff_t at = str_find_char(image, '@'), slash = str_rfind_char(image, '/'), colon = str_rfind_char(image, ':');
    if (at >= 0) {
        *repo = str_sub(image, 0, (size_t)at);
        *tag = str_sub(image, (size_t)at + 1, image.len);
        ptrdiff_t before = str_rfind_char(*repo, ':');
        if (before > str_rfind_char(*repo, '/')) {
            *repo = str_sub(*repo, 0, (size_t)before);
        }
    } else if (colon > slash) {
        *repo = str_sub(image, 0, (size_t)colon);
        *tag = str_sub(image, (size_t)colon + 1, image.len);
    } else {
        *repo = image;
        *tag = STR("latest");
    }
}

void docker_pull(struct runtime_call *c, struct str image, const struct cri_v1_auth_config *auth, void (*next)(struct runtime_call *c, const struct err *err))
{
    struct pull *p = arena_new(&c->a, struct pull);
    struct str repo, tag;
    if (!p) {
        docker_fail_with(c, ERR_TOO_LARGE, "the request to dockerd is too large");
        return;
    }
    *p = (struct pull){ .image = image, .next = next, .before = c->state, .before_drop = c->drop };
    buf_init(&p->line, 1u << 20);
    c->state = p;
    c->drop = drop_pull;
    split(image, &repo, &tag);
    struct str path = docker_path(&c->a, "/images/create?fromImage=", repo, "&tag=");
    const struct docker_http_spec spec = { .method = "POST", .path = arena_printf(&c->a, "%.*s%.*s", STR_ARG(path), STR_ARG(tag)),
                                           .auth = auth_header(&c->a, auth), .on_body = on_progress, .stall_ms = DOCKER_PULL_STALL_MS };
    docker_ask_spec(c, &spec, on_pulled);
}

static void on_pulled_image(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    struct cri_v1_pull_image_response *r;
    if (a->err) {
        docker_fail(c, a->err);
        return;
    }
    if (docker_json(c, a, &v) && (r = docker_response(c))) {
        r->image_ref = docker_str(&v, "Id");
        docker_done(c, r);
    }
}

static void on_image_pulled(struct runtime_call *c, const struct err *err)
{
    const struct cri_v1_pull_image_request *q = c->request;
    if (err) {
        docker_fail(c, err);
        return;
    }
    docker_ask(c, "GET", docker_path(&c->a, "/images/", q->image->image, "/json"), STR_EMPTY, on_pulled_image);
}

void docker_pull_image(struct runtime_call *c)
{
    const struct cri_v1_pull_image_request *q = c->request;
    struct str name;
    if (good_name(c, q->image, &name)) {
        docker_pull(c, name, q->auth, on_image_pulled);
    }
}

/* ---- remove ---- */

struct removal {
    struct str *names;
    size_t n, at;
};

static void next_name(struct runtime_call *c);

static void on_name_removed(struct runtime_call *c, const struct docker_answer *a)
{
    if (a->err && !docker_absent(a)) {
        docker_fail(c, a->err);
        return;
    }
    next_name(c);
}

static void next_name(struct runtime_call *c)
{
    struct removal *r = c->state;
    if (r->at < r->n) {
        docker_ask(c, "DELETE", docker_path(&c->a, "/images/", r->names[r->at++], ""), STR_EMPTY, on_name_removed);
        return;
    }
    const void *response = docker_response(c);
    if (response) {
        docker_done(c, response);
    }
}

/* An image with several names goes with the last of them. */
static void on_to_remove(struct runtime_call *c, const struct docker_answer *a)
{
    struct removal *r = arena_new(&c->a, struct removal);
    struct cri_v1_image im = { 0 };
    struct val v;
    if (a->err && !docker_absent(a)) {
        docker_fail(c, a->err);
        return;
    }
    if (!r) {
        docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
        return;
    }
    c->state = r;
    if (!a->err) {
        if (!docker_json(c, a, &v)) {
            return;
        }
        if (!image_of(&c->a, &v, &im) || !(r->names = arena_new_n(&c->a, struct str, im.n_repo_tags + 1))) {
            docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
            return;
        }
        for (size_t i = 0; i < im.n_repo_tags; i++) {
            r->names[r->n++] = im.repo_tags[i];
        }
        if (!r->n) {
            r->names[r->n++] = im.id;
        }
    }
    next_name(c);
}

void docker_remove_image(struct runtime_call *c)
{
    const struct cri_v1_remove_image_request *q = c->request;
    struct str name;
    if (good_name(c, q->image, &name)) {
        docker_ask(c, "GET", docker_path(&c->a, "/images/", name, "/json"), STR_EMPTY, on_to_remove);
    }
}
