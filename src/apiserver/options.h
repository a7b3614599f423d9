/*
 * Options of a request: query parameters of reads and writes (metav1.GetOptions, ListOptions, CreateOptions, UpdateOptions,
 * PatchOptions, DeleteOptions), parsed and validated as upstream does (golden errors 087-127, 257-262).
 */
#ifndef APISERVER_OPTIONS_H
#define APISERVER_OPTIONS_H

#include "base/arena.h"

struct request;
struct selector;

enum field_validation { FIELD_VALIDATION_WARN, FIELD_VALIDATION_IGNORE, FIELD_VALIDATION_STRICT };
enum rv_match { RV_MATCH_UNSET, RV_MATCH_EXACT, RV_MATCH_NOT_OLDER };

struct request_options {
    /* reads */
    struct str resource_version; /* as sent; "" unset */
    uint64_t rv;                 /* of it; 0 for unset and "0" */
    enum rv_match rv_match;
    bool watch, allow_bookmarks;
    bool has_send_initial, send_initial;
    int64_t limit;
    struct str continue_token;
    int64_t timeout_s; /* 0: none */
    struct str label_selector, field_selector; /* text */
    /* writes */
    bool dry_run;
    struct str field_manager; /* as sent; see options_manager() */
    enum field_validation validation;
    bool force, has_force;
    /* deletes */
    bool has_grace;
    int64_t grace_s;
    struct str propagation; /* "", Foreground, Background, Orphan */
    bool has_orphan, orphan;
    struct str precondition_uid, precondition_rv; /* absent: none */
};

#endif
