/* mortar brick check: asks who serves the directory, has it checked (brick/checker.h), and prints what comes up.
 *
 * Nothing here goes through mortard: the command works on a machine where nothing else does. Findings are printed as they
 * come, so the output needs no memory; text shows the first of each class, JSON all of them. File names may hold any
 * byte: what is no printable UTF-8 is shown as \xNN, also in JSON.
 */
#include <inttypes.h>

#include "brick/checker.h"
#include "brick/served.h"
#include "cli/cli.h"

#define SHOWN_PER_CLASS 20

enum { CLEAN = 0, FINDINGS = 1, NOT_CHECKED = 2 };

struct output {
        const struct cli *cli;
        const char *path;
        bool repair;
        struct served served;
        uint64_t shown[FINDING_CLASS_MAX], hidden[FINDING_CLASS_MAX];
        bool begun; /* the head was printed */
        bool first; /* no finding was printed yet */
};

/* ---- names --------------------------------------------------------------------------------------------------------- */

/* The bytes of the well-formed UTF-8 character at S, 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
        size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
        for (size_t k = 1; k < n; k++)
                if ((s[k] & 0xc0) != 0x80)
                        return 0;
        bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
                   (s[0] == 0xf4 && s[1] >= 0x90) || (s[0] == 0xc2 && s[1] < 0xa0); /* the last: control characters */
        return bad ? 0 : n;
}

static char *printable(const char *name)
{
        char *text = malloc(strlen(name) * 4 + 1), *to = text;
        const unsigned char *s = (const unsigned char *)name;
        while (text && *s) {
                size_t n = *s < ' ' || *s == 0x7f || *s == '\\' ? 0 : utf8_length(s);
                if (n == 0) {
                        to += snprintf(to, sizeof "\\xNN", "\\x%02x", *s++);
                        continue;
                }
                memcpy(to, s, n);
                to += n;
                s += n;
        }
        if (text)
                *to = '\0';
        return text;
}

/* ---- findings ------------------------------------------------------------------------------------------------------ */

static const char *outcome_word(const struct finding *f)
{
        return f->outcome == FINDING_REPAIRED ? "repaired" : f->outcome == FINDING_FAILED ? "failed" : "no";
}

static void print_text(struct output *o, const struct finding *f, const char *path, const char *text)
{
        char gfid[GFID_TEXT_LEN + 1];
        if (o->shown[f->class] >= SHOWN_PER_CLASS) {
                o->hidden[f->class]++;
                return;
        }
        o->shown[f->class]++;
        const char *word = f->outcome == FINDING_REPAIRED ? "repaired" : finding_severity_word(f->severity);
        (void)printf("%-10s  %-15s  %s\n            ", word, finding_class_word(f->class), path);
        if (!gfid_is_null(&f->gfid))
                (void)printf("gfid %s: ", gfid_format(&f->gfid, gfid));
        (void)printf("%s\n", text);
        if (f->outcome == FINDING_FAILED)
                (void)printf("            could not be repaired: %s\n", strerror(-f->error));
}

static void print_json(struct output *o, const struct finding *f, const char *path, const char *text)
{
        char gfid[GFID_TEXT_LEN + 1] = "";
        if (!gfid_is_null(&f->gfid))
                gfid_format(&f->gfid, gfid);
        json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "severity", finding_severity_word(f->severity), "class",
                              finding_class_word(f->class), "path", path, "gfid", gfid, "text", text, "repair",
                              outcome_word(f));
        if (j && f->outcome == FINDING_FAILED)
                json_object_set_new(j, "error", json_string(strerror(-f->error)));
        (void)fputs(o->first ? "\n    " : ",\n    ", stdout);
        (void)json_dumpf(j, stdout, JSON_COMPACT);
        json_decref(j);
}

/* Once it is known that the directory can be checked. */
static void print_head(struct output *o)
{
        if (o->begun)
                return;
        o->begun = true;
        _cleanup_free_ char *path = printable(o->path);
        if (!o->cli->json && o->served.yes)
                (void)printf("%s is being served by %s (pid %d).\n", path, o->served.program, o->served.pid);
        if (!o->cli->json)
                return;
        json_t *j = json_string(path ? path : "");
        (void)fputs("{\n  \"brick\": ", stdout);
        (void)json_dumpf(j, stdout, JSON_ENCODE_ANY);
        (void)printf(",\n  \"served_by\": \"%s\",\n  \"repair\": %s,\n  \"findings\": [", o->served.program,
                     o->repair ? "true" : "false");
        json_decref(j);
}

static void print_finding(void *arg, const struct finding *f)
{
        struct output *o = arg;
        _cleanup_free_ char *path = printable(f->path), *text = printable(f->text);
        if (!path || !text)
                return;
        print_head(o);
        if (o->cli->json)
                print_json(o, f, path, text);
        else
                print_text(o, f, path, text);
        o->first = false;
}

/* ---- totals -------------------------------------------------------------------------------------------------------- */

static void print_hidden(const struct output *o)
{
        for (int k = 0; k < FINDING_CLASS_MAX; k++)
                if (o->hidden[k] > 0)
                        (void)printf("…           %-15s  %" PRIu64 " more; -o json lists all\n", finding_class_word(k), o->hidden[k]);
}

static void print_next(const struct output *o, const struct check_totals *t)
{
        if (t->left == 0)
                return;
        if (t->found[FINDING_REPAIRABLE] > 0 && !o->repair)
                (void)printf("Next: %s`mortar brick check %s --repair` repairs what is repairable.\n",
                             o->served.yes ? "stop the brick; " : "", o->path);
        if (t->found[FINDING_ERROR] > 0)
                (void)puts("Next: errors need a decision; docs/guide/check-brick.md goes through them.");
        if (o->repair && t->left > t->found[FINDING_ERROR])
                (void)puts("Next: some repairs failed, see above; on a read-only or full file system they do.");
}

static void print_totals_text(const struct output *o, const struct check_totals *t)
{
        print_hidden(o);
        (void)printf("%s%" PRIu64 " directories, %" PRIu64 " files, %" PRIu64 " other objects; %" PRIu64
                     " wait for self-heal.\n",
                     o->first ? "" : "\n", t->directories, t->files, t->others, t->pending);
        if (t->without_mdata + t->without_gfid2path > 0)
                (void)printf("As older releases wrote them: %" PRIu64 " objects without times of their own (mdata), %" PRIu64
                             " without gfid2path. That is nothing wrong.\n",
                             t->without_mdata, t->without_gfid2path);
        if (t->incomplete)
                (void)puts("Not all could be read: handles without names were not judged.");
        if (o->served.yes)
                (void)puts("The brick was served meanwhile: every finding was seen twice.");
        if (t->left + t->repaired == 0 && t->found[FINDING_NOTE] == 0)
                (void)puts("Result: clean.");
        else if (t->left + t->repaired == 0)
                (void)printf("Result: clean, %" PRIu64 " notes.\n", t->found[FINDING_NOTE]);
        else
                (void)printf("Result: %" PRIu64 " errors, %" PRIu64 " repairable, %" PRIu64 " notes; %" PRIu64
                             " repaired, %" PRIu64 " left.\n",
                             t->found[FINDING_ERROR], t->found[FINDING_REPAIRABLE], t->found[FINDING_NOTE], t->repaired,
                             t->left);
        print_next(o, t);
}

static json_t *classes_json(const struct check_totals *t)
{
        json_t *j = json_object();
        for (int k = 0; j && k < FINDING_CLASS_MAX; k++)
                if (t->by_class[k] > 0)
                        json_object_set_new(j, finding_class_word(k), json_integer((json_int_t)t->by_class[k]));
        return j;
}

static void print_totals_json(const struct check_totals *t)
{
        json_t *j = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:o}",          //
                              "directories", (json_int_t)t->directories,                        //
                              "files", (json_int_t)t->files,                                    //
                              "others", (json_int_t)t->others,                                  //
                              "pending", (json_int_t)t->pending,                                //
                              "without_mdata", (json_int_t)t->without_mdata,                    //
                              "without_gfid2path", (json_int_t)t->without_gfid2path,            //
                              "errors", (json_int_t)t->found[FINDING_ERROR],                    //
                              "repairable", (json_int_t)t->found[FINDING_REPAIRABLE],           //
                              "notes", (json_int_t)t->found[FINDING_NOTE],                      //
                              "repaired", (json_int_t)t->repaired, "left", (json_int_t)t->left, //
                              "incomplete", t->incomplete, "classes", classes_json(t));
        (void)fputs("\n  ],\n  \"totals\": ", stdout);
        (void)json_dumpf(j, stdout, JSON_COMPACT);
        (void)printf(",\n  \"clean\": %s\n}\n", t->left == 0 ? "true" : "false");
        json_decref(j);
}

/* ---- the command --------------------------------------------------------------------------------------------------- */

static int not_checked(const struct cli *cli, const struct error *e)
{
        const struct answer a = {.error = -e->code, .reason = (char *)e->text};
        (void)answer_refused(cli, &a, "brick check: ");
        return NOT_CHECKED;
}

/* Nobody else may work on the directory while it is repaired. */
static int make_sure(struct output *o, int *ret_claim, struct error *e)
{
        if (geteuid() != 0)
                return error_set(e, -EPERM, "only root can read the attributes of a brick.");
        int r = served_by(o->path, &o->served, e);
        if (r < 0 || !o->repair)
                return r;
        if (o->served.yes)
                return error_set(e, -EBUSY, "%s is being served by %s (pid %d): a brick is repaired only while nobody serves it. "
                                 "Stop the brick first, or check without --repair.", o->path, o->served.program, o->served.pid);
        return served_claim(o->path, ret_claim, e);
}

static int check(struct output *o)
{
        _cleanup_close_ int claim = -EBADF;
        _cleanup_(disk_freep) struct disk *disk = NULL;
        struct check_totals totals;
        struct error e = {0};
        int r = make_sure(o, &claim, &e);
        if (r == 0 && (r = disk_posix_new(&disk)) < 0)
                (void)error_set(&e, r, "no memory");
        if (r < 0)
                return not_checked(o->cli, &e);
        const struct check_config config = {
                .repair = o->repair, .served = o->served.yes, .report = print_finding, .arg = o};
        r = brick_check(disk, o->path, &config, &totals, &e);
        if (r < 0)
                return not_checked(o->cli, &e);
        print_head(o);
        if (o->cli->json)
                print_totals_json(&totals);
        else
                print_totals_text(o, &totals);
        return totals.left == 0 ? CLEAN : FINDINGS;
}

int run_brick_check(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        struct output o = {.cli = cli, .first = true};
        for (int k = 0; k < argc; k++) {
                if (streq(argv[k], "--repair"))
                        o.repair = true;
                else if (!o.path)
                        o.path = argv[k];
                else
                        o.path = "";
        }
        if (o.path && *o.path)
                return check(&o);
        (void)text_usage(command);
        return NOT_CHECKED;
}
