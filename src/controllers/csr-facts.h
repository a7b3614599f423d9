/* What the controllers of certificate requests share: their informer, what was decided, and how a
 * condition is added. */
#ifndef CONTROLLERS_CSR_FACTS_H
#define CONTROLLERS_CSR_FACTS_H

#include "api/gen/certificates_v1.h"
#include "controllers/controllers.h"

typedef struct certificates_v1_certificate_signing_request csr_t;
typedef struct certificates_v1_certificate_signing_request_condition csr_condition_t;

const struct api_resource *csr_resource(void);
/* The whole object: it is written back. 'c' is told of every change. */
struct informer *csr_informer(struct controller *c, struct informers *informers);
/* The condition of that type, or NULL. */
const csr_condition_t *csr_condition(const csr_t *csr, const char *type);
/* Approved or denied, signed or failed: nothing is left to approve. */
bool csr_is_decided(const csr_t *csr);
/* The user who asked, is it this node? "system:node:NAME" with the group of nodes. Absent: no node
 * asked. */
struct str csr_node(const csr_t *csr);
/* Writes the object with one more condition (status "True") to the subresource. */
void csr_add_condition(struct actions *a, const csr_t *csr, const char *subresource,
                       const char *type, const char *reason, struct str message);

#endif
