/*
 * Content negotiation: in what form the client wants the answer, and in what form it sent its body.
 *
 * Representations of objects are JSON, YAML and Kubernetes protobuf; a client may ask for a transformed answer by parameters
 * of the media type: "application/json;as=Table;v=v1;g=meta.k8s.io". Clauses of Accept are tried by weight, the first that can
 * be served wins; none gives 406, worded as the golden cases 060 and 061.
 */
#ifndef APISERVER_MEDIA_H
#define APISERVER_MEDIA_H

#include "base/arena.h"
#include "base/buf.h"

struct http_headers;

enum media_format { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF };

/* What the answer is transformed to. */
enum media_as {
    MEDIA_AS_OBJECT,       /* the object itself */
    MEDIA_AS_TABLE,        /* meta.k8s.io Table */
    MEDIA_AS_PARTIAL,      /* PartialObjectMetadata(List) */
    MEDIA_AS_AGGREGATED,   /* APIGroupDiscoveryList */
};

struct media {
    enum media_format format;
    enum media_as as;
    struct str version; /* of 'as': "v1" or "v1beta1"; "v2" for aggregated discovery */
    bool pretty;        /* JSON is indented */
};

/* Which transformations an endpoint can give. */
enum media_allow { MEDIA_ALLOW_TABLE = 1, MEDIA_ALLOW_PARTIAL = 2, MEDIA_ALLOW_AGGREGATED = 4, MEDIA_ALLOW_NO_PROTOBUF = 8 };

enum media_result {
    MEDIA_OK,
    MEDIA_NO_TYPE,  /* no clause names a type that is served at all (golden 060) */
    MEDIA_NO_FORM,  /* the type is served, its parameters are not (golden 061) */
};

/* 'accept' absent or empty takes JSON. */
enum media_result media_negotiate(struct arena *a, struct str accept, unsigned allow, struct media *ret);
/* Indentation: ?pretty=true, or without that parameter a browser's or curl's User-Agent. */
bool media_wants_pretty(struct str pretty_param, struct str user_agent);
/* The format of a request body by Content-Type (absent: JSON). False for a type that is not read. */
bool media_of_content_type(struct str content_type, enum media_format *ret);
/* "application/json", … for Content-Type. */
struct str media_type_name(enum media_format f);

/* Appends 'json' indented by two spaces a level, as Go's json.Indent; 'json' is valid. */
void media_indent(struct buf *b, struct str json);

#define MEDIA_ACCEPTED "application/json, application/yaml, application/vnd.kubernetes.protobuf"

#endif
