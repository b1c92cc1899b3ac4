/* The table of commands: the whole grammar, with what is there and what is not yet (spec: cli.md §2). */
#include "cli/cli.h"

#define CREATE_OPERANDS                                                                                                \
        "<NEW-VOLNAME> [[replica <COUNT> [arbiter <COUNT>]]|[replica 2 thin-arbiter 1]] [disperse [<COUNT>]]"          \
        " [disperse-data <COUNT>] [redundancy <COUNT>] [transport <tcp|rdma|tcp,rdma>] <NEW-BRICK> <TA-BRICK>..."      \
        " [force]"

#define HEAL_OPERANDS                                                                                                  \
        "<VOLNAME> [enable | disable | full |statistics [heal-count [replica <HOSTNAME:BRICKNAME>]] |info [summary |"   \
        " split-brain] |split-brain {bigger-file <FILE> | latest-mtime <FILE> |source-brick <HOSTNAME:BRICKNAME>"      \
        " [<FILE>]} |granular-entry-heal {enable | disable}]"

/* A command of the grammar that is not there yet. */
#define LATER(words)                                                                                                   \
        {                                                                                                              \
                words, "", "", EFFECT_CHANGES, NULL, false                                                             \
        }

static const struct command table[] = {
        {"help", "[all]", "list the commands", EFFECT_NONE, run_help, false},
        {"volume help", "", "list the volume commands", EFFECT_NONE, run_volume_help, false},
        {"volume create", CREATE_OPERANDS, "create a volume of the given bricks", EFFECT_CHANGES, run_volume_create, false},
        {"volume start", "<VOLNAME> [force]", "serve a volume", EFFECT_CHANGES, run_volume_start, false},
        {"volume stop", "<VOLNAME> [force]", "serve a volume no longer", EFFECT_CHANGES, run_volume_stop, false},
        {"volume delete", "<VOLNAME>", "forget a stopped volume; its bricks keep their data", EFFECT_CHANGES,
         run_volume_delete, false},
        {"volume info", "[all|<VOLNAME>]", "show volumes, their bricks and options", EFFECT_READS, run_volume_info, false},
        {"volume list", "", "list the names of all volumes", EFFECT_READS, run_volume_list, false},
        {"volume status", "[all | <VOLNAME>]", "show bricks, their ports and processes", EFFECT_READS,
         run_volume_status, false},
        {"volume set", "<VOLNAME> group <GROUP>",
         "set options of a volume: pairs of KEY and VALUE; `volume set help` lists them", EFFECT_CHANGES,
         run_volume_set, false},
        {"volume get", "<VOLNAME|all> <key|all>", "show what is in force of one option or of all", EFFECT_READS,
         run_volume_get, false},
        {"volume reset", "<VOLNAME> [option] [force]", "give options their defaults again", EFFECT_CHANGES,
         run_volume_reset, false},
        {"volume heal", HEAL_OPERANDS,
         "heal what bricks missed, and show it; without a word: begin now. info --watch or --watch: how far it is",
         EFFECT_CHANGES, run_volume_heal, true},
        {"brick restart", "<HOSTNAME:BRICK>...|all",
         "serve bricks by new processes of the program as it is now, one brick at a time", EFFECT_CHANGES,
         run_brick_restart, false},
        {"record define", CREATE_OPERANDS, "print the record of a volume that several nodes are to import",
         EFFECT_READS, run_record_define, false},
        {"record export", "<VOLNAME>", "print the record of a volume; it holds the volume's password", EFFECT_READS,
         run_record_export, false},
        {"record import", "<FILE> [force]", "take up a volume that was defined or exported on another node",
         EFFECT_CHANGES, run_record_import, false},
        {"metrics", "", "show what the bricks of this node count, as text for Prometheus", EFFECT_READS, run_metrics, false},
        {"brick check", "<PATH> [--repair]", "check a brick directory; with --repair, put right what can be (exit 2: not checked)",
         EFFECT_NONE, run_brick_check, false},

        LATER("volume add-brick"),
        LATER("volume barrier"),
        LATER("volume bitrot"),
        LATER("volume clear-locks"),
        LATER("volume geo-replication"),
        LATER("volume inode-quota"),
        LATER("volume log"),
        LATER("volume profile"),
        LATER("volume quota"),
        LATER("volume rebalance"),
        LATER("volume remove-brick"),
        LATER("volume replace-brick"),
        LATER("volume reset-brick"),
        LATER("volume statedump"),
        LATER("volume sync"),
        LATER("volume top"),
        LATER("peer detach"),
        LATER("peer help"),
        LATER("peer probe"),
        LATER("peer status"),
        LATER("pool list"),
        LATER("snapshot activate"),
        LATER("snapshot clone"),
        LATER("snapshot config"),
        LATER("snapshot create"),
        LATER("snapshot deactivate"),
        LATER("snapshot delete"),
        LATER("snapshot help"),
        LATER("snapshot info"),
        LATER("snapshot list"),
        LATER("snapshot restore"),
        LATER("snapshot status"),
        LATER("get-state"),
        LATER("global help"),
        LATER("nfs-ganesha"),
        LATER("system:: copy"),
        LATER("system:: execute"),
        LATER("system:: fsm"),
        LATER("system:: getspec"),
        LATER("system:: getwd"),
        LATER("system:: help"),
        LATER("system:: mount"),
        LATER("system:: portmap"),
        LATER("system:: umount"),
        LATER("system:: uuid"),
};

const struct command *command_table(size_t *ret_count)
{
        *ret_count = ELEMENTSOF(table);
        return table;
}
