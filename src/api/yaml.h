/*
 * YAML to struct val and back, as Kubernetes reads it (sigs.k8s.io/yaml over YAML 1.1): a document is what the JSON of the same
 * data would be. Plain yes/no/on/off/y/n are booleans, 0x1f, 0o17 and 017 numbers, dates strings; keys that are numbers or
 * booleans become their text; "<<" merges. Tags other than the core ones and keys that are no scalars are errors.
 *
 * Anchors and aliases work, but what aliases may unfold to is bounded (YAML_NODES_MAX), as is depth.
 */
#ifndef API_YAML_H
#define API_YAML_H

#include "api/val.h"

/* Nodes a document may have, those that aliases repeat included: a "billion laughs" stops here. */
#define YAML_NODES_MAX 1000000
/* Nesting; libyaml itself refuses flow nesting beyond 1000. */
#define YAML_DEPTH 200

/* Parses one document; an empty one gives null. A second document is an error: split with yaml_next_document(). Of duplicate
 * keys the last counts; with 'dups' (val_dups_init) they are reported with their lines. Everything lives in the arena.
 * Errors are worded as Kubernetes' parser words them: "yaml: line 1: did not find expected ',' or ']'". */
MUST_CHECK bool yaml_parse(struct arena *a, struct str text, struct val_dups *dups, struct val *ret, struct err *err);

/* Text that begins with '{' (behind white space) is parsed as JSON, any other as YAML: how kubectl and the components read
 * manifests and configuration files. */
MUST_CHECK bool yaml_or_json_parse(struct arena *a, struct str text, struct val_dups *dups, struct val *ret,
                                   struct err *err);

/* "yaml: unmarshal errors:\n  line 6: key \"a\" already set in map": the strict decoder's words for what was reported. */
struct str yaml_dups_message(struct arena *a, const struct val_dups *dups);

/* The next document of a stream: '*rest' is cut at lines that begin with "---". Documents may be blank. False at the end. */
bool yaml_next_document(struct str *rest, struct str *ret_document);

/* Appends the value as block YAML with two blanks of indentation, in the order of its keys, ended by a newline. Strings that
 * would read back as something else are quoted, those of several lines become literal blocks. */
void yaml_write(struct buf *b, const struct val *v);

#endif
