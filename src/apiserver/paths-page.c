/*
 * The page /paths: the table is written here, so that it is whole without a script; the script (paths-page.js) draws the picture from the
 * same facts, which are in the page as JSON, and follows the stream. Every text is escaped where it is written.
 */
#include "api/json-writer.h"
#include "apiserver/paths.h"
#include "base/clock.h"

/* Embedded by tools/embed-text.py. */
extern const char paths_page_css[], paths_page_js[];
extern const size_t paths_page_css_len, paths_page_js_len;

static const char *const marks[] = { [PATH_SAFE] = "\xe2\x9c\x93 safe", [PATH_LOCAL] = "\xe2\x97\x8b local", [PATH_UNUSED] = "\xe2\x80\x93 unused",
                                     [PATH_UNSAFE] = "\xe2\x9c\x97 unsafe" };

static void end(struct buf *b, const struct path_end *e)
{
    buf_append_html(b, e->name);
    if (e->node.len) {
        buf_append_c(b, " on ");
        buf_append_html(b, e->node);
    }
}

static void dim(struct buf *b, struct str s)
{
    if (s.len) {
        buf_append_c(b, "<div class=\"dim\">");
        buf_append_html(b, s);
        buf_append_c(b, "</div>");
    }
}

static void transport(struct buf *b, const struct path_row *r)
{
    struct str t = r->transport == PATH_TLS     ? (r->tls.len ? r->tls : STR("TLS"))
                   : r->transport == PATH_UNIX  ? STR("unix socket")
                   : r->transport == PATH_SSH   ? STR("SSH")
                   : r->transport == PATH_PLAIN ? STR("plain")
                                                : STR_EMPTY;
    buf_append_c(b, "<div class=\"dim\">");
    buf_append_html(b, t);
    if (r->http.len) {
        buf_append_char(b, ' ');
        buf_append_html(b, r->http);
    }
    buf_append_c(b, "</div>");
}

static void row(struct buf *b, const struct path_row *r)
{
    const struct path_certificate *c = r->server.subject.len ? &r->server : &r->client;
    char until[CLOCK_RFC3339_SIZE];
    buf_printf(b, "<tr><td><span class=\"mark %s\">%s</span></td><td class=\"long\">", path_verdict_word(r->verdict), marks[r->verdict]);
    end(b, &r->from);
    buf_append_c(b, " \xe2\x86\x92 ");
    end(b, &r->to);
    dim(b, r->purpose);
    buf_append_c(b, "</td><td>");
    buf_append_html(b, r->address);
    transport(b, r);
    buf_append_c(b, "</td><td>");
    buf_append_html(b, r->authn);
    dim(b, r->authz);
    buf_append_c(b, "</td><td class=\"long\">");
    buf_append_html(b, c->subject);
    if (c->not_after) {
        (void)clock_format_rfc3339(c->not_after, 0, 0, until);
        buf_printf(b, "<div class=\"dim\">until %.10s</div>", until);
    }
    buf_printf(b, "</td><td>%llu / %llu<div class=\"dim\">", (unsigned long long)r->open, (unsigned long long)r->opened);
    buf_append_amount(b, r->sent);
    buf_append_c(b, " / ");
    buf_append_amount(b, r->received);
    buf_append_c(b, "</div></td><td class=\"long\">");
    buf_append_html(b, r->reason);
    if (r->warning.len) {
        buf_append_c(b, r->reason.len ? "; note: " : "note: ");
        buf_append_html(b, r->warning);
    }
    if (r->mend.len && (r->verdict == PATH_UNSAFE || r->verdict == PATH_UNUSED)) {
        buf_append_c(b, "<div></div><code>");
        buf_append_html(b, r->mend);
        buf_append_c(b, "</code>");
    }
    buf_append_c(b, "</td></tr>\n");
}

static void programs(struct buf *b, const struct path_catalog *c)
{
    buf_append_c(b, "<h2 id=\"programs\">Programs</h2>\n<div class=\"card scroll\"><table aria-labelledby=\"programs\"><thead><tr><th scope=\"col\">Program"
                    "</th><th scope=\"col\">Report</th><th scope=\"col\">Unsafe flags in force</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < c->n_parts; i++) {
        const struct path_part *p = &c->parts[i];
        const struct path_end e = { p->process, p->node };
        buf_append_c(b, "<tr><td>");
        end(b, &e);
        buf_append_c(b, "</td><td>");
        buf_append_html(b, p->error.len ? p->error : STR("its own"));
        buf_append_c(b, "</td><td class=\"long\">");
        for (size_t k = 0; k < p->n_flags; k++) {
            const struct path_flag *f = &p->flags[k];
            buf_append_c(b, "<div><code>--");
            buf_append_html(b, str_starts(f->flag, STR("--")) ? str_sub(f->flag, 2, f->flag.len) : f->flag);
            buf_append_char(b, '=');
            buf_append_html(b, f->value);
            buf_append_c(b, "</code> <span class=\"unsafe\">");
            buf_append_html(b, f->why);
            buf_append_c(b, "</span> <code>");
            buf_append_html(b, f->mend);
            buf_append_c(b, "</code></div>");
        }
        buf_append_c(b, p->n_flags ? "</td></tr>\n" : p->error.len ? "not known</td></tr>\n" : "none</td></tr>\n");
    }
    buf_append_c(b, "</tbody></table></div>\n");
}

static void legend(struct buf *b, const struct path_catalog *c)
{
    static const char *const words[] = { [PATH_SAFE] = "on an untrusted network", [PATH_LOCAL] = "never leaves the host",
                                         [PATH_UNUSED] = "would be unsafe, and nothing has gone over it", [PATH_UNSAFE] = "see why, and what mends it" };
    buf_append_c(b, "<ul class=\"legend\">");
    for (size_t v = 0; v < ARRAY_SIZE(words); v++) {
        const char *word = path_verdict_word((enum path_verdict)v);
        buf_printf(b, "<li><span class=\"mark %s\">%s</span> <span id=\"n-%s\">%zu</span> <span class=\"dim\">%s</span></li>", word, marks[v], word,
                   c->n_verdict[v], words[v]);
    }
    buf_append_c(b, "</ul>\n");
}

void path_catalog_write_page(const struct path_catalog *c, struct str nonce, struct buf *b)
{
    char now[CLOCK_RFC3339_SIZE];
    bool unsafe = path_catalog_unsafe(c);
    size_t findings = c->n_verdict[PATH_UNSAFE] + c->n_flags;
    const char *section = NULL;
    (void)clock_format_rfc3339(c->now, 0, 0, now);
    buf_printf(b,
               "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
               "<title>Communication paths</title>\n<link rel=\"icon\" href=\"data:,\">\n<style nonce=\"%.*s\">\n",
               STR_ARG(nonce));
    buf_append(b, str_n(paths_page_css, paths_page_css_len));
    buf_printf(b, "</style></head>\n<body><header><h1>Communication paths</h1><span id=\"verdict\" role=\"status\" class=\"mark %s\">",
               unsafe ? "unsafe" : "safe");
    if (unsafe) {
        buf_printf(b, "%s: %zu finding%s", marks[PATH_UNSAFE], findings, findings == 1 ? "" : "s");
    } else {
        buf_printf(b, "%s on an untrusted network", marks[PATH_SAFE]);
    }
    buf_printf(b, "</span><span class=\"dim\"><span id=\"time\">%s</span>, <span id=\"live\">as of then</span></span></header>\n<main>\n", now);
    legend(b, c);
    buf_append_c(b, "<div id=\"picture\" class=\"card\"><noscript>The picture needs JavaScript; the table below has all of it.</noscript></div>\n"
                    "<section id=\"facts\" class=\"card\" aria-label=\"Facts of one path\"><span class=\"dim\">Point at a line, or go to it with the Tab key; "
                    "Enter goes to its row.</span></section>\n"
                    "<h2 id=\"paths\">Every path</h2>\n<div class=\"card scroll\"><table aria-labelledby=\"paths\"><thead><tr><th scope=\"col\">Verdict</th>"
                    "<th scope=\"col\">From \xe2\x86\x92 to</th><th scope=\"col\">Address, transport</th><th scope=\"col\">Known by, authorised by</th>"
                    "<th scope=\"col\">Certificate</th><th scope=\"col\">Open / all, sent / back</th><th scope=\"col\">Why</th></tr></thead><tbody id=\"rows\">\n");
    for (size_t i = 0; i < c->n_rows; i++) {
        const char *s = c->rows[i].kind->section;
        if (s != section) {
            section = s;
            buf_append_c(b, "<tr class=\"section\"><th colspan=\"7\" scope=\"colgroup\">");
            buf_append_html(b, str_c(s));
            buf_append_c(b, "</th></tr>\n");
        }
        row(b, &c->rows[i]);
    }
    buf_append_c(b, "</tbody></table></div>\n");
    programs(b, c);
    buf_append_c(b, "<footer class=\"dim\">The same as JSON: <a href=\"?output=json\">?output=json</a>. In a terminal: <code>coracle paths</code>.</footer>\n");
    /* JSON strings escape what could end the element. */
    buf_printf(b, "</main><script id=\"data\" type=\"application/json\" nonce=\"%.*s\">", STR_ARG(nonce));
    path_catalog_write_json(c, b);
    buf_printf(b, "</script>\n<script nonce=\"%.*s\">\n", STR_ARG(nonce));
    buf_append(b, str_n(paths_page_js, paths_page_js_len));
    buf_append_c(b, "</script></body></html>\n");
}
