/* What one client's directory must look like: a plain file system in memory, with all the states that a fault may bring
 * back.
 *
 * The model has versions: 0 is the oldest state a power cut can return to, the last one is what the client was
 * promised, or has asked for and not heard about. A version is names, sizes and one attribute. Contents are kept beside
 * them: for each page what it holds, and what it may hold after a power cut.
 */
#pragma once

#include "harness.h"

#define MODEL_OBJECTS 250 /* ever seen, in one run; 0 is the client's directory */
#define MODEL_RESERVE 60  /* of them for those that only turn up after faults */
#define MODEL_NAMES 48
#define MODEL_NAME_COUNT 5 /* names in use: "n0" … */
#define MODEL_PAGES 6      /* of a file */
#define MODEL_PAGE 4096
#define MODEL_VERSIONS 256
#define MODEL_MAYBE 16
#define MODEL_NONE 0xff

struct model_name {
        uint8_t dir, name, object;
};
struct model_version {
        uint8_t pages[MODEL_OBJECTS]; /* size of a file */
        uint32_t attr[MODEL_OBJECTS]; /* 0: none */
        struct model_name names[MODEL_NAMES];
        unsigned n;
};

struct model_object {
        struct gfid gfid;
        mode_t type;
        uint32_t target;       /* of a symbolic link */
        bool found;            /* seen after a fault and not yet accepted */
        bool healed;           /* its gfid was given by a look-up, which a power cut may undo */
        unsigned last_version; /* the latest version that changed something of it */
        unsigned sure_version; /* the same without what was asked for and not answered */
        uint32_t page[MODEL_PAGES];
        uint32_t pending[MODEL_PAGES]; /* asked for, not answered */
        uint32_t maybe[MODEL_PAGES][MODEL_MAYBE];
        uint8_t maybe_n[MODEL_PAGES];
};

struct model {
        struct model_object objects[MODEL_OBJECTS];
        unsigned n;
        struct model_version versions[MODEL_VERSIONS];
        unsigned last; /* index of the newest version */
        bool asked;    /* that one was asked for and not answered */
};

enum model_op {
        MODEL_MKDIR,
        MODEL_CREATE,
        MODEL_MKNOD,
        MODEL_SYMLINK,
        MODEL_LINK,
        MODEL_UNLINK,
        MODEL_RMDIR,
        MODEL_RENAME,
        MODEL_WRITE,
        MODEL_TRUNCATE,
        MODEL_SETXATTR,
        MODEL_REMOVEXATTR,
        MODEL_OPS,
};
extern const char *const model_op_names[MODEL_OPS];

struct model_action {
        enum model_op op;
        uint8_t dir, name;   /* what it is about */
        uint8_t dir2, name2; /* RENAME: where to */
        uint8_t object;      /* LINK, WRITE, … : what it is about; of creations: the new one */
        uint8_t page, pages; /* WRITE: which; TRUNCATE: pages that remain */
        uint32_t tag;        /* WRITE: fills the pages; SETXATTR and creations: the attribute */
};

void model_init(struct model *m, const struct gfid *dir);
/* A new object number for a creation; MODEL_NONE when there were too many. */
uint8_t model_object_new(struct model *m, const struct gfid *gfid, mode_t type, uint32_t target);

static inline const struct model_version *model_now(const struct model *m)
{
        return &m->versions[m->last];
}
/* The object behind a name, or MODEL_NONE. */
uint8_t model_find(const struct model_version *v, uint8_t dir, uint8_t name);
unsigned model_links(const struct model_version *v, uint8_t object);
bool model_is_below(const struct model_version *v, uint8_t dir, uint8_t top);

/* More changes would be more than can be remembered: sync first. */
bool model_is_full(const struct model *m, uint8_t object);
/* Asks: the answer that must come, 0 or -errno. With 0 there is a new version, until model_answered(). */
int model_ask(struct model *m, const struct model_action *a);
/* The answer came as it had to. */
void model_answered(struct model *m, const struct model_action *a);
/* OBJECT was synced: its contents (a file), and all versions up to the last one that touched it. */
void model_synced(struct model *m, uint8_t object);

enum model_loss {
        MODEL_LOST_CALL,  /* only the connection: a call was served as a whole, or not at all */
        MODEL_LOST_NODE,  /* the node died: a call may have been served in part */
        MODEL_LOST_POWER, /* and what was not synced is gone, from the end */
};

/* What a client finds after a fault. An unknown gfid in the place of an object that was being made is that object's. */
struct model_seen {
        struct model_version v;
        uint32_t page[MODEL_OBJECTS][MODEL_PAGES];
};
/* The number of an object that was seen, by gfid; new ones get a number. */
uint8_t model_seen_object(struct model *m, const struct gfid *gfid, mode_t type, uint32_t target);
/* True, and the model is what was seen: it is a state that LOSS permits. Else prints why not. */
bool model_accept(struct model *m, enum model_loss loss, const struct model_seen *seen);
/* Contents of one file as it must be now. */
bool model_page_is(const struct model *m, uint8_t object, unsigned page, uint32_t tag);
