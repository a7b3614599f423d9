/*
 * Who has an address on a link: ARP (RFC 826, RFC 5227) and IPv6 neighbour discovery (RFC 4861), as Ethernet frames. Pure: bytes in,
 * values out, and the other way round.
 */
#ifndef CLOUD_L2_FRAME_H
#define CLOUD_L2_FRAME_H

#include "cloud/ip.h"

struct l2_mac {
    uint8_t b[6];
};

/* What a frame says; each part may be missing (family 0). */
struct l2_message {
    struct ip asked;      /* somebody wants to know who has it */
    struct ip asker;      /* who asks; family 0: one who has no address yet (a probe, or duplicate address detection) */
    struct ip claimed;    /* somebody says that it has it */
    struct l2_mac sender; /* its hardware address, as the message says it */
};

/* False when it is neither, or not valid. */
MUST_CHECK bool l2_parse(const uint8_t *frame, size_t len, struct l2_message *ret);

#define L2_FRAME_MAX 96
/* The frame that answers a question for 'q->asked'. Returns its length. */
size_t l2_answer(const struct l2_message *q, const struct l2_mac *own, uint8_t dst[L2_FRAME_MAX]);
/* A frame to everybody on the link: the address is here (gratuitous ARP, unsolicited neighbour advertisement). In IPv4 'reply' says
 * it as an answer, for machines that heed only those. */
size_t l2_announce(const struct ip *ip, const struct l2_mac *own, bool reply, uint8_t dst[L2_FRAME_MAX]);
/* A frame that asks whether anybody has the address already (RFC 5227's probe, duplicate address detection of RFC 4862): it claims
 * nothing. */
size_t l2_probe(const struct ip *ip, const struct l2_mac *own, uint8_t dst[L2_FRAME_MAX]);
/* The group in which one asks for an IPv6 address: ff02::1:ffxx:xxxx. */
struct ip l2_solicited_node(const struct ip *ip);

#endif
