#include "net/h1-chunks.h"

#include "net/limits.h"

/* The value of a hexadecimal digit, or -1. */
static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A byte of the line with the size: digits, then extensions that nobody reads. */
static const char *size_byte(struct h1_chunks *c, char byte)
{
    int value = c->state == H1_CHUNKS_SIZE ? digit(byte) : -1;
    if (value >= 0) {
        c->left = c->left * 16 + (uint64_t)value;
        return ++c->n_digits > HTTP1_CHUNK_DIGITS ? "the chunk size is too large" : NULL;
    }
    if (c->n_digits == 0) {
        return "bad chunk size";
    }
    if (byte == '\r') {
        c->state = H1_CHUNKS_SIZE_LF;
        return NULL;
    }
    if (c->state == H1_CHUNKS_SIZE && byte != ';' && byte != ' ' && byte != '\t') {
        return "bad chunk size";
    }
    if (((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7f) {
        return "bad chunk extension";
    }
    c->state = H1_CHUNKS_EXTENSION;
    return ++c->extensions > HTTP1_CHUNK_EXTENSIONS ? "the chunk extensions are too large" : NULL;
}

/* What a trailer says is looked at elsewhere; here only its line's end. */
static const char *trailer_byte(struct h1_chunks *c, char byte)
{
    if (byte == '\r') {
        c->state = H1_CHUNKS_TRAILER_LF;
        return NULL;
    }
    if (((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7f ||
        (c->trailer_line == 0 && (byte == ' ' || byte == '\t'))) {
        return "bad trailers";
    }
    c->trailer_line++;
    return NULL;
}

static const char *line_end(struct h1_chunks *c, char byte)
{
    if (byte != '\n') {
        return "bad line end in a chunked body";
    }
    switch (c->state) {
    case H1_CHUNKS_SIZE_LF:
        c->state = c->left > 0 ? H1_CHUNKS_DATA : H1_CHUNKS_TRAILER;
        break;
    case H1_CHUNKS_DATA_LF:
        c->state = H1_CHUNKS_SIZE;
        c->left = 0;
        c->n_digits = 0;
        break;
    default:
        c->state = c->trailer_line > 0 ? H1_CHUNKS_TRAILER : H1_CHUNKS_END;
        c->trailer_line = 0;
        break;
    }
    return NULL;
}

static const char *look_at(struct h1_chunks *c, char byte)
{
    switch (c->state) {
    case H1_CHUNKS_SIZE:
    case H1_CHUNKS_EXTENSION:
        return size_byte(c, byte);
    case H1_CHUNKS_DATA_CR:
        c->state = H1_CHUNKS_DATA_LF;
        return byte == '\r' ? NULL : "bad line end in a chunked body";
    case H1_CHUNKS_TRAILER:
        return trailer_byte(c, byte);
    default:
        return line_end(c, byte);
    }
}

size_t h1_chunks_look(struct h1_chunks *c, struct str data, const char **ret_reason)
{
    size_t i = 0;
    *ret_reason = NULL;
    while (i < data.len && c->state != H1_CHUNKS_END) {
        if (c->state == H1_CHUNKS_DATA) {
            size_t n = (size_t)MIN((uint64_t)(data.len - i), c->left);
            i += n;
            c->left -= n;
            c->state = c->left > 0 ? H1_CHUNKS_DATA : H1_CHUNKS_DATA_CR;
            continue;
        }
        *ret_reason = look_at(c, data.ptr[i]);
        if (*ret_reason) {
            break;
        }
        i++;
    }
    return i;
}
