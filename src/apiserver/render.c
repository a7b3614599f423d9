#include "apiserver/render.h"

#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/encode-pb.h"
#include "api/gen/meta_v1.h"
#include "api/yaml.h"

bool render_is_verbatim(const struct render *how)
{
    return how->media.format == MEDIA_JSON && how->media.as == MEDIA_AS_OBJECT && !how->ep->conversion;
}

uint32_t render_representation(const struct render *how)
{
    uint32_t n = (uint32_t)(how->ep - how->ep->rest->srv->endpoints) + 1;
    uint32_t include = str_eq_c(how->include_object, "None") ? 1 : str_eq_c(how->include_object, "Object") ? 2 : 0;
    uint32_t beta = str_eq_c(how->media.version, "v1beta1");
    return n << 8 | (uint32_t)how->media.format << 6 | (uint32_t)how->media.as << 4 | include << 2 | beta << 1;
}

const void *render_convert(const struct endpoint *ep, struct arena *a, const void *hub)
{
    if (!ep->conversion) {
        return hub;
    }
    void *out = arena_alloc(a, ep->res->type->size);
    return out && ep->conversion->from_hub(a, hub, out) ? out : NULL;
}

bool render_yaml(struct arena *a, struct str json, struct buf *b, struct err *err)
{
    struct val v;
    if (!val_parse_json(a, json, JSON_DEPTH_MAX, NULL, &v, err)) {
        return false;
    }
    val_sort(&v);
    yaml_write(b, &v);
    return !buf_failed(b) || err_set(err, ERR_TOO_LARGE, "object is too large");
}

bool render_typed(enum media_format format, struct arena *a, const struct api_type *type, const void *obj, struct str api_version,
                  struct str kind, struct buf *b, struct err *err)
{
    struct api_json_encode json = { .kind = kind, .api_version = api_version };
    struct api_pb_encode pb = { .kind = kind, .api_version = api_version };
    bool ok = false;
    switch (format) {
    case MEDIA_JSON:
        ok = api_encode_json(b, type, obj, &json, NULL);
        break;
    case MEDIA_PROTOBUF:
        ok = api_encode_pb_object(b, type, obj, &pb);
        break;
    case MEDIA_YAML: {
        CLEANUP(buf_deinit) struct buf text;
        buf_init(&text, 64u << 20);
        ok = api_encode_json(&text, type, obj, &json, NULL);
        if (ok) {
            /* The tree borrows from the text; both end here. */
            ok = render_yaml(a, buf_str(&text), b, err);
        }
        break;
    }
    }
    return ok || err_set(err, ERR_TOO_LARGE, "object is too large");
}

static struct str meta_version(const struct render *how)
{
    return str_eq_c(how->media.version, "v1beta1") ? STR("meta.k8s.io/v1beta1") : STR("meta.k8s.io/v1");
}

static bool render_partial(const struct render *how, struct arena *a, const void *hub, struct buf *b, struct err *err)
{
    struct meta_v1_partial_object_metadata p = { .metadata = *rest_meta_const(how->ep->rest, hub) };
    return render_typed(how->media.format, a, &meta_v1_partial_object_metadata_type, &p, meta_version(how),
                        STR("PartialObjectMetadata"), b, err);
}

static bool render_table(const struct render *how, struct arena *a, const struct object *o, const void *hub, struct buf *b,
                         struct err *err)
{
    CLEANUP(buf_deinit) struct buf text;
    buf_init(&text, 64u << 20);
    struct buf *to = how->media.format == MEDIA_YAML ? &text : b;
    table_begin(how, to, rest_meta_const(how->ep->rest, hub)->resource_version, STR_NULL, 0, true);
    if (!table_row(how, a, o, hub, to, err)) {
        return false;
    }
    table_end(to);
    if (how->media.format == MEDIA_YAML) {
        return render_yaml(a, buf_str(&text), b, err);
    }
    return !buf_failed(b) || err_set(err, ERR_TOO_LARGE, "object is too large");
}

bool render_hub(const struct render *how, struct arena *a, const void *hub, struct buf *b, struct err *err)
{
    switch (how->media.as) {
    case MEDIA_AS_TABLE:
        return render_table(how, a, NULL, hub, b, err);
    case MEDIA_AS_PARTIAL:
        return render_partial(how, a, hub, b, err);
    case MEDIA_AS_AGGREGATED:
    case MEDIA_AS_OBJECT:
        break;
    }
    const void *obj = render_convert(how->ep, a, hub);
    if (!obj) {
        return err_set(err, ERR_TOO_LARGE, "object is too large");
    }
    return render_typed(how->media.format, a, how->ep->res->type, obj, how->ep->api_version, how->ep->res->kind, b, err);
}

bool render_object(const struct render *how, struct arena *a, const struct object *o, struct buf *b, struct err *err)
{
    if (render_is_verbatim(how)) {
        struct iovec iov[OBJECT_IOV];
        int n = object_json_iov_as(o, how->ep->prefix, iov);
        for (int i = 0; i < n; i++) {
            buf_append_bytes(b, iov[i].iov_base, iov[i].iov_len);
        }
        return !buf_failed(b) || err_set(err, ERR_TOO_LARGE, "object is too large");
    }
    const void *hub = rest_decode(how->ep->rest, a, o);
    if (!hub) {
        return err_set(err, ERR_INTERNAL, "the stored object cannot be read");
    }
    return render_hub(how, a, hub, b, err);
}
