/* `volume create` and `record define`: operands in stock's order of checks and with its texts (cli.md §5.5, §6.1,
 * §6.2).
 */
#include "cli/cli.h"
#include "cli/layout.h"
#include "pool/path.h"
#include "pool/volume.h"

#define ARBITER_TEXT                                                                                                   \
        "For arbiter configuration, replica count must be 2 and arbiter count must be 1. The 3rd brick of the replica" \
        " will be the arbiter"
#define THIN_ARBITER_TEXT                                                                                              \
        "For thin-arbiter configuration, replica count must be 2 and thin-arbiter count must be 1. The 3rd brick of"   \
        " the replica will be the thin-arbiter brick"
#define LOOPBACK_TEXT                                                                                                  \
        "Please provide a valid hostname/ip other than localhost, 127.0.0.1 or loopback address (0.0.0.0 to"           \
        " 0.255.255.255)."
#define REPLICA_2_QUESTION                                                                                             \
        "Replica 2 volumes are prone to split-brain. Use Arbiter or Replica 3 to avoid this. See:"                     \
        " http://docs.gluster.org/en/latest/Administrator-Guide/Split-brain-and-ways-to-deal-with-it/.\n"              \
        "Do you still want to continue?\n"

struct create {
        const struct cli *cli;
        const struct command *command;
        char **words;
        int n, at;
        struct layout_words layout;
        bool has_transport, force;
        const char *transport;
};

static int fail(const struct create *c, const char *text)
{
        (void)fprintf(stderr, "%s\n", text);
        return text_usage(c->command);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static const char *next_word(const struct create *c)
{
        return c->at < c->n ? c->words[c->at] : NULL;
}

/* A decimal number; 0 when W is none. */
static unsigned long number_of(const char *w)
{
        char *end;
        unsigned long n = w && *w >= '0' && *w <= '9' ? strtoul(w, &end, 10) : 0;
        return n > 0 && *end == '\0' ? MIN(n, (unsigned long)VOLUME_BRICKS_MAX + 1) : 0;
}

static int read_arbiter(struct create *c)
{
        const char *w = next_word(c);
        if (!w)
                return 0;
        if (streq(w, "arbiter")) {
                c->at++;
                c->layout.arbiter = number_of(next_word(c));
                c->at++;
                if (c->layout.arbiter != 1 || c->layout.replica > 3)
                        return fail(c, ARBITER_TEXT);
        } else if (streq(w, "thin-arbiter")) {
                c->at++;
                c->layout.thin_arbiter = number_of(next_word(c));
                c->at++;
                if (c->layout.thin_arbiter != 1 || c->layout.replica != 2)
                        return fail(c, THIN_ARBITER_TEXT);
        }
        return 0;
}

static int read_replica(struct create *c)
{
        if (c->layout.replica)
                return fail(c, "replica option given twice");
        if (c->layout.has_disperse || c->layout.disperse_data || c->layout.redundancy)
                return fail(c, "replicated-dispersed volume is not supported");
        c->layout.replica = number_of(next_word(c));
        c->at++;
        if (c->layout.replica < 2)
                return fail(c, "replica count should be greater than 1");
        int status = read_arbiter(c);
        bool safe = c->layout.replica != 2 || c->layout.arbiter || c->layout.thin_arbiter || c->force;
        return status != 0 || safe || text_confirm(c->cli, REPLICA_2_QUESTION) ? status : text_usage(c->command);
}

static int read_transport(struct create *c)
{
        if (c->has_transport)
                return fail(c, "'transport' option given more than one time");
        c->has_transport = true;
        c->transport = next_word(c);
        c->at++;
        if (!c->transport || !(streq(c->transport, "tcp") || streq(c->transport, "rdma") ||
                               streq(c->transport, "tcp,rdma") || streq(c->transport, "rdma,tcp")))
                return text_usage(c->command);
        return 0;
}

static int read_disperse(struct create *c)
{
        if (c->layout.has_disperse)
                return fail(c, "disperse option given twice");
        if (c->layout.replica)
                return fail(c, "replicated-dispersed volume is not supported");
        c->layout.has_disperse = true;
        const char *w = next_word(c);
        if (!w || *w < '0' || *w > '9' || strchr(w, ':'))
                return 0; /* the number is optional: this is the next word */
        c->layout.disperse = number_of(w);
        c->at++;
        return c->layout.disperse < 3 ? fail(c, "disperse count must be greater than 2") : 0;
}

static int read_part(struct create *c, const char *name, unsigned long *count, unsigned long min)
{
        char text[64];
        if (*count) {
                (void)snprintf(text, sizeof text, "%s option given twice", name);
                return fail(c, text);
        }
        if (c->layout.replica)
                return fail(c, "replicated-dispersed volume is not supported");
        *count = number_of(next_word(c));
        c->at++;
        if (*count >= min)
                return 0;
        (void)snprintf(text, sizeof text, "%s must be greater than %lu", name, min - 1);
        return fail(c, text);
}

/* Option groups before the bricks. */
static int read_options(struct create *c)
{
        for (const char *w; (w = next_word(c));) {
                int status = 0;
                c->at++;
                if (streq(w, "replica"))
                        status = read_replica(c);
                else if (streq(w, "transport"))
                        status = read_transport(c);
                else if (streq(w, "disperse"))
                        status = read_disperse(c);
                else if (streq(w, "disperse-data"))
                        status = read_part(c, w, &c->layout.disperse_data, 2);
                else if (streq(w, "redundancy"))
                        status = read_part(c, w, &c->layout.redundancy, 1);
                else if (streq(w, "arbiter"))
                        return fail(c, "arbiter option must be preceded by replica option.");
                else if (streq(w, "thin-arbiter"))
                        return fail(c, "thin-arbiter option must be preceded by replica option.");
                else
                        break;
                if (status != 0)
                        return status;
        }
        c->at--;
        return 0;
}

/* ---- bricks ------------------------------------------------------------------------------------------------------ */

static bool is_loopback(const char *host)
{
        return streq(host, "localhost") || streq(host, "127.0.0.1") || starts_with(host, "0.");
}

static int add_brick(const struct create *c, const char *word, json_t *bricks)
{
        const char *colon = strstr(word, ":/");
        _cleanup_free_ char *text = strdup(word);
        if (!text)
                return fail(c, "out of memory");
        if (!colon || colon == word || memchr(word, '/', (size_t)(colon - word))) {
                (void)fprintf(stderr, "Wrong brick type: %s, use <HOSTNAME>:<export-dir-abs-path>\n", word);
                return text_usage(c->command);
        }
        char *path = text + (colon - word) + 1;
        path[-1] = '\0';
        if (is_loopback(text))
                return fail(c, LOOPBACK_TEXT);
        path[-1] = ':';
        path_canonicalise(path);
        for (size_t i = 0; i < json_array_size(bricks); i++)
                if (streq(json_string_value(json_array_get(bricks, i)), text)) {
                        (void)fprintf(stderr, "Found duplicate exports %s\n", text);
                        return text_usage(c->command);
                }
        if (json_array_append_new(bricks, json_string(text)) < 0)
                return fail(c, "a brick's path is not valid UTF-8");
        return 0;
}

static int read_bricks(struct create *c, json_t *bricks)
{
        c->force = c->n > c->at && streq(c->words[c->n - 1], "force");
        if (c->force)
                c->n--;
        for (; c->at < c->n; c->at++) {
                int status = add_brick(c, c->words[c->at], bricks);
                if (status != 0)
                        return status;
        }
        return json_array_size(bricks) == 0 ? fail(c, "No bricks specified") : 0;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* What the daemon cannot make, refused before anything is touched. */
static int refuse_unknown(const struct create *c)
{
        const char *what = NULL;
        if (c->layout.thin_arbiter)
                what = "thin-arbiter volumes are not there yet";
        else if (c->has_transport && !streq(c->transport, "tcp"))
                what = "transport rdma is not there yet";
        if (!what)
                return 0;
        (void)fprintf(stderr, "%s: %s; nothing was changed\n", c->cli->program, what);
        return EXIT_FAILURE;
}

static int check_name(const struct create *c, const char *name)
{
        struct error why = {0};
        if (volume_name_check(name, &why) == 0)
                return 0;
        if (why.text[0])
                (void)fprintf(stderr, "%s\n", why.text);
        return text_usage(c->command);
}

/* The words of a request for NAME; NULL: the answer to a question was no or the counts do not fit, *ret_status. */
static json_t *read_request(struct create *c, const char *request, int *ret_status)
{
        struct layout layout;
        json_t *bricks = json_array();
        int status = bricks ? check_name(c, c->words[0]) : EXIT_FAILURE;
        if (status == 0)
                status = read_options(c);
        if (status == 0)
                status = read_bricks(c, bricks);
        if (status == 0)
                status = layout_choose(c->cli, c->command, &c->layout, json_array_size(bricks), &layout);
        if (status == 0)
                status = refuse_unknown(c);
        *ret_status = status;
        if (status == 0)
                return json_pack("{s:s,s:s,s:o,s:b,s:s,s:i,s:i,s:i}", "command", request, "volume", c->words[0],
                                 "bricks", bricks, "force", c->force, "type", layout.type, "set_size",
                                 (int)layout.set_size, "arbiter_count", (int)layout.arbiter_count, "redundancy",
                                 (int)layout.redundancy);
        json_decref(bricks);
        return NULL;
}

static int ask(const struct cli *cli, const struct command *command, int argc, char **argv, const char *word,
               struct answer *ret)
{
        struct create c = {.cli = cli, .command = command, .words = argv, .n = argc, .at = 1};
        char request[64], prefix[512];
        int status = 0;
        if (argc < 2)
                return text_usage(command);
        c.force = streq(argv[argc - 1], "force");
        (void)snprintf(request, sizeof request, "%s", command->words);
        request[strcspn(request, " ")] = '-';
        json_t *json = read_request(&c, request, &status);
        if (status != 0)
                return status;
        status = call_mortard(cli, json, ret);
        if (status != 0 || ret->ok)
                return status;
        (void)snprintf(prefix, sizeof prefix, "%s: %s: failed: ", word, argv[0]);
        return answer_refused(cli, ret, prefix);
}

int run_volume_create(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        int status = ask(cli, command, argc, argv, "volume create", &a);
        if (status != 0)
                return status;
        if (cli->json)
                return text_json(a.json);
        (void)printf("volume create: %s: success: please start the volume to access data\n", argv[0]);
        return EXIT_SUCCESS;
}

int run_record_define(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        int status = ask(cli, command, argc, argv, "record define", &a);
        return status != 0 ? status : text_json(json_object_get(a.json, "record"));
}
