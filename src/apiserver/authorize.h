/* Selectors as attributes of authorisation, for requests and for reviews (KEP-4601). */
#ifndef APISERVER_AUTHORIZE_H
#define APISERVER_AUTHORIZE_H

#include "auth/authz.h"

struct request;

/* A selector's text into attr->fields or attr->labels. One that cannot be read narrows nothing. */
void authorize_field_requirements(struct request *r, struct str text, struct authz_attributes *attr);
void authorize_label_requirements(struct request *r, struct str text, struct authz_attributes *attr);

#endif
