/*
 * The memory of TLS records. A connection that has nothing to read or to send has no buffer of 16 KB (SSL_MODE_RELEASE_BUFFERS), so OpenSSL
 * allocates and frees one or two at each read and each write. For the heap these are large pieces, which are cut off and joined again every
 * time; so a few of them are kept between. Everything else of OpenSSL's goes to the heap as before.
 */
#ifndef NET_TLS_BUFFERS_H
#define NET_TLS_BUFFERS_H

/* For a program's main, before anything of OpenSSL is used: later OpenSSL refuses, and goes on with the heap alone. Twice is harmless. */
void tls_buffers_init(void);
/* Gives back what is kept. Safe from any thread. */
void tls_buffers_release(void);
/* How many are kept now: for tests. */
unsigned tls_buffers_kept(void);

#endif
