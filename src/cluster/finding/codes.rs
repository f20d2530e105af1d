//! Every kind of finding, once. `docs/lint.md` holds the same table; a test compares the two.

use super::{Code, Severity};

macro_rules! codes {
    ($($name:ident $word:literal $severity:ident $meaning:literal)*) => {
        $(#[doc = $meaning] pub const $name: Code =
            Code { word: $word, severity: Severity::$severity, meaning: $meaning };)*
        /// All codes, by subject.
        pub const ALL: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    WRONG_TYPE "wrong-type" Error "A field has a type that the schema does not allow, often a number or `y` without quotes."
    UNKNOWN_FIELD "unknown-field" Warning "A field of the backup section is not known, often a typing error; the API server drops it."
    REQUIRED_FIELD_MISSING "required-field-missing" Warning "A field that the API server insists on is not there; for the checks its usual value is assumed."
    FIELD_EMPTY "field-empty" Error "A field that the storage needs is missing or empty; pgBackRest would fail every command."
    FIELD_MALFORMED "field-malformed" Error "A field's value cannot be what the field is for."
    FIELD_NOT_USED "field-not-used" Info "A field has no effect on backups."
    DEFAULT_USED "default-used" Info "A field is not set and a default holds."

    NO_BACKUP "no-backup" Info "The resource has no backup section: nothing is built."
    NO_REPOS "no-repos" Warning "The backup section has no repos: nothing is built, and what exists is kept until its removal is authorized."

    NO_PRIMARY "no-primary" Info "No pod of the cluster is a primary that is ready; stanzas are looked after when there is one."
    CONFIGURATION_NOT_VISIBLE "configuration-not-visible" Info "A pod does not show the newest configuration or certificates yet."
    PRIMARY_MISSING "primary-missing" Warning "For minutes no pod of the cluster has been a primary that is ready, and stanzas wait for one."
    CONFIGURATION_NOT_MOUNTED "configuration-not-mounted" Warning "For minutes a pod has not shown the newest configuration or certificates: it does not mount them."
    REPO_HOST_NOT_READY "repo-host-not-ready" Warning "For minutes the repo host has not been ready: archiving fails for all repos."
    POD_COMMAND_FAILED "pod-command-failed" Warning "A command could not be run in a pod."
    REPO_UNREACHABLE "repo-unreachable" Error "PostgreSQL's pod cannot reach a repo: archiving fails for all repos, and the disk of the primary fills."
    STANZA_NOT_CREATED "stanza-not-created" Error "A stanza could not be created."
    STANZA_FOREIGN "stanza-foreign" Error "A repo holds the stanza of another PostgreSQL cluster, or of this one before an upgrade."
    SERVER_MISSING "server-missing" Warning "A pod runs no pgBackRest server, which a repo on a volume needs."
    VERSIONS_DIFFER "versions-differ" Error "PostgreSQL's pod and the repo host have different versions of pgBackRest, which refuse each other."
    REPO_NAME_INVALID "repo-name-invalid" Error "A repo is not named repo1, repo2, repo3 or repo4."
    REPO_TWICE "repo-twice" Error "Two repos have the same name."
    STORAGE_UNKNOWN "storage-unknown" Error "A repo's storage is not pvc, s3, azure or gcs."
    STORAGE_SHARED "storage-shared" Error "Two repos have the same place in the same storage and would destroy each other."
    VOLUME_SIZE_INVALID "volume-size-invalid" Error "A volume's size is missing, malformed or zero."
    VOLUME_SHRINKS "volume-shrinks" Warning "A volume is asked to be smaller than it is; Kubernetes never shrinks one."
    VOLUME_CANNOT_GROW "volume-cannot-grow" Warning "A volume is asked to grow and its storage class does not allow it."
    VOLUME_CLASS_FIXED "volume-class-fixed" Warning "A volume exists with another storage class, which cannot be changed."
    STORAGE_CLASS_MISSING "storage-class-missing" Error "The storage class of a volume does not exist."
    STORAGE_CLASS_NOT_CHECKED "storage-class-not-checked" NotChecked "Whether the storage class exists was not looked at."
    IMAGE_MISSING "image-missing" Error "A repo is on a volume, and no image for the repo host is given."

    SCHEDULE_INVALID "schedule-invalid" Error "Kubernetes would refuse a cron expression."
    SCHEDULE_TYPE_UNKNOWN "schedule-type-unknown" Error "A schedule is for a backup type other than full, diff and incr."
    SCHEDULE_NEVER "schedule-never" Warning "A cron expression never comes true."
    SCHEDULES_COLLIDE "schedules-collide" Warning "Two schedules of a cluster fire at the same minute; one job finds the other's lock."
    NO_SCHEDULE "no-schedule" Info "A repo has no schedule: only WAL and the first full backup go there."
    NO_FULL_SCHEDULE "no-full-schedule" Warning "A repo is never given a new full backup, so nothing in it ever expires."

    SECRET_IN_RESOURCE "secret-in-resource" Error "A secret stands in the resource, where everybody who may read it sees it."
    SECRET_NOT_NAMED "secret-not-named" Error "A repo needs credentials, and `configuration.secret` names no Secret."
    SECRET_MISSING "secret-missing" Error "The Secret that `configuration.secret` names does not exist."
    SECRET_NOT_CHECKED "secret-not-checked" NotChecked "The Secret was not looked at."
    SECRET_MALFORMED "secret-malformed" Error "The Secret, or a configuration file in it, cannot be read."
    SECRET_WITHOUT_CONF "secret-without-conf" Error "No key of the Secret ends in .conf, so pgBackRest reads none of them."
    SECRET_OPTION_MISSING "secret-option-missing" Error "The Secret lacks an option that a repo needs."
    SECRET_OPTION_EMPTY "secret-option-empty" Error "An option in the Secret has no value; pgBackRest would fail every command."
    SECRET_OPTION_UNUSED "secret-option-unused" Warning "An option in the Secret belongs to no repo of the cluster."
    SECRET_FILE_MISSING "secret-file-missing" Error "The key file of a gcs repo is not in the Secret."
    CIPHER_TYPE_MISSING "cipher-type-missing" Error "A repo has a passphrase and no cipher type: its backups would not be encrypted."
    CIPHER_PASS_MISSING "cipher-pass-missing" Error "A repo has a cipher type and no passphrase."

    OPTION_UNKNOWN "option-unknown" Warning "pgBackRest up to 2.59 knows no such option; it would ignore it."
    OPTION_IGNORED "option-ignored" Warning "pgBackRest does not take this option from a `[global]` section."
    OPTION_EMPTY "option-empty" Error "An option has no value; pgBackRest would fail every command."
    OPTION_VALUE_INVALID "option-value-invalid" Error "pgBackRest would refuse the value of an option."
    OPTION_MALFORMED "option-malformed" Error "An option's name or value cannot stand in a configuration file."
    OPTION_TWICE "option-twice" Error "An option is given twice, under two names or in two places; pgBackRest would fail every command."
    OPTION_WITHOUT_REPO "option-without-repo" Warning "An option is for a repo that the cluster does not have; it is left out."
    OPTION_CONTRADICTS "option-contradicts" Error "An option contradicts what the resource says elsewhere."
    OPTION_OVERRIDES "option-overrides" Warning "An option replaces one that is generated and that the set-up depends on."
    RETENTION_UNSET "retention-unset" Warning "A repo keeps its full backups for ever, until its storage is full."

    NAME_INVALID "name-invalid" Error "The cluster's name cannot be part of the objects' names."
    NAME_SHORTENED "name-shortened" Info "Names of objects are shortened with a hash."
    NAME_TAKEN "name-taken" Warning "An object of the same name belongs to somebody else and is left alone."
    NAMES_NOT_CHECKED "names-not-checked" NotChecked "Whether objects of the same names exist was not looked at."

    KNOB_UNKNOWN "knob-unknown" Warning "An annotation of ours is not known."
    KNOB_INVALID "knob-invalid" Error "The value of an annotation cannot be used."
    PAUSED "paused" Info "An annotation stops all writes for the cluster."
    OTHER_CONTROLLER "other-controller" Info "The resource is left to another controller."
    SUSPENDED "suspended" Info "The cluster has nothing to back up at the moment: its jobs are suspended."
    RESTORE_NOT_EXECUTED "restore-not-executed" Warning "A restore is asked for, which is not executed."
    LABEL_RESERVED "label-reserved" Warning "A pod label is one that selects pods; it is left out."
    ENV_TWICE "env-twice" Warning "An environment variable is given twice; the first one holds."

    OBJECT_REFUSED "object-refused" Warning "The API server does not take an object."
    OBJECT_WAITS "object-waits" Info "An object is changed or removed later, such as after a running backup."
    REMOVAL_NOT_AUTHORIZED "removal-not-authorized" Warning "The backup section is gone; what was made for it stays, with its jobs suspended, until its removal is authorized."
}
