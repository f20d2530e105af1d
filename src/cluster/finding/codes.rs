//! All codes of findings. `docs/lint.md` contains the same table; a test compares them.

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
    UNKNOWN_FIELD "unknown-field" Warning "A field of the backup section or of a restore test is unknown, often a typing error; the API server drops it."
    REQUIRED_FIELD_MISSING "required-field-missing" Warning "A field that the API server requires is missing; the checks assume its usual value."
    FIELD_EMPTY "field-empty" Error "A field that the storage or a restore test requires is missing or empty."
    FIELD_UNSET "field-unset" Warning "A field or schedule is empty; it counts as not set."
    FIELD_MALFORMED "field-malformed" Error "A field has an invalid value."
    FIELD_NOT_USED "field-not-used" Info "A field has no effect on backups."
    DEFAULT_USED "default-used" Info "A field is not set, and a default applies."

    NO_BACKUP "no-backup" Info "The resource has no backup section: no objects are created."
    NO_REPOS "no-repos" Warning "The backup section has no repos: no objects are created, and existing ones are kept until their removal is authorized."

    NO_PRIMARY "no-primary" Info "The cluster has no ready primary; stanzas wait for one."
    CONFIGURATION_NOT_VISIBLE "configuration-not-visible" Info "A pod does not have the latest configuration or certificates yet."
    PRIMARY_MISSING "primary-missing" Warning "The cluster has had no ready primary for minutes, and stanzas wait for one."
    CONFIGURATION_NOT_MOUNTED "configuration-not-mounted" Warning "A pod has not had the latest configuration or certificates for minutes: it does not mount them."
    REPO_HOST_NOT_READY "repo-host-not-ready" Warning "The repo host has not been ready for minutes: backups fail and, with a repo on its volume, archiving to all repos, too."
    BACKUP_FAILED "backup-failed" Warning "The last backup job of a repo and backup type has failed."
    VERIFICATION_NOT_PASSED "verification-not-passed" Warning "A verification of a repo has failed, and none has passed since, or the last one had no result."
    POD_COMMAND_FAILED "pod-command-failed" Warning "A command could not run in a pod."
    REPO_UNREACHABLE "repo-unreachable" Error "The PostgreSQL pod cannot reach a repo: archiving fails for all repos, and the disk of the primary fills up."
    STANZA_NOT_CREATED "stanza-not-created" Error "A stanza could not be created."
    STANZA_FOREIGN "stanza-foreign" Error "A repo contains the stanza of another PostgreSQL cluster, or of this one before an upgrade."
    SERVER_MISSING "server-missing" Warning "A pod does not run the pgBackRest server through which the repo host makes backups."
    VERSIONS_DIFFER "versions-differ" Error "The PostgreSQL pod and the repo host have different versions of pgBackRest, which do not work together."
    REPO_NAME_INVALID "repo-name-invalid" Error "A repo is not named repo1, repo2, repo3 or repo4."
    REPO_TWICE "repo-twice" Error "Two repos have the same name."
    REPO_LEFT_OUT "repo-left-out" Warning "A repo has errors and is not set up; the others are."
    REPO_HELD "repo-held" Error "A repo with errors cannot be left out, because it is in use, so nothing is changed."
    STORAGE_UNKNOWN "storage-unknown" Error "A repo's storage is not pvc, s3, azure or gcs."
    STORAGE_SHARED "storage-shared" Error "Two repos use the same location in the same storage and would destroy each other."
    LOCATION_SHARED "location-shared" Error "Two clusters use the same location in the same storage and destroy each other's archive. A repo that is not in use yet is not set up there."
    LOCATION_NOT_CHECKED "location-not-checked" NotChecked "Two clusters use the same bucket, and the path of one may be in a Secret that was not checked."
    VOLUME_SIZE_INVALID "volume-size-invalid" Error "A volume's size is missing, malformed or zero."
    VOLUME_SHRINKS "volume-shrinks" Warning "The size of a volume was reduced; Kubernetes cannot shrink volumes."
    VOLUME_CANNOT_GROW "volume-cannot-grow" Warning "The size of a volume was increased, but its storage class does not allow expansion."
    VOLUME_CLASS_FIXED "volume-class-fixed" Warning "A volume already exists with another storage class, which cannot be changed."
    VOLUME_MODES_FIXED "volume-modes-fixed" Warning "A volume already exists with other access modes, which cannot be changed."
    STORAGE_CLASS_MISSING "storage-class-missing" Error "The storage class of a volume does not exist."
    STORAGE_CLASS_NOT_CHECKED "storage-class-not-checked" NotChecked "The existence of the storage class was not checked."
    IMAGE_MISSING "image-missing" Error "A repo is on a volume, but no image for the repo host is set."

    SCHEDULE_INVALID "schedule-invalid" Error "Kubernetes would reject a cron expression."
    SCHEDULE_TYPE_UNKNOWN "schedule-type-unknown" Error "A schedule is for a backup type other than full, diff or incr."
    SCHEDULE_NEVER "schedule-never" Warning "A cron expression never matches."
    SCHEDULE_FREQUENT "schedule-frequent" Warning "A schedule starts jobs less than five minutes apart."
    SCHEDULES_COLLIDE "schedules-collide" Warning "Schedules of a cluster fire in the same minute and need the same lock; one job waits for the other."
    NO_SCHEDULE "no-schedule" Info "A repo has no schedule: it gets only WAL and the first full backup."
    NO_FULL_SCHEDULE "no-full-schedule" Warning "A repo has no schedule for full backups, so nothing in it ever expires."
    JITTER_LIMITED "jitter-limited" Warning "The schedule of a restore test cannot be moved by the whole jitter."

    REQUEST_INVALID "request-invalid" Warning "The annotation of a restore test that starts a test now has an invalid value."
    CLUSTER_NOT_CHECKED "cluster-not-checked" NotChecked "A cluster that a restore test selects is not in the files, or has errors."
    CLUSTER_NOT_TESTED "cluster-not-tested" Warning "A restore test leaves out a cluster, because its backups cannot be restored in a pod of their own."

    SECRET_IN_RESOURCE "secret-in-resource" Error "The resource contains a secret in plain text."
    SECRET_NOT_NAMED "secret-not-named" Error "A repo needs credentials, but `configuration.secret` is not set."
    SECRET_MISSING "secret-missing" Error "The Secret that `configuration.secret` names does not exist."
    SECRET_NOT_CHECKED "secret-not-checked" NotChecked "The Secret was not checked."
    SECRET_MALFORMED "secret-malformed" Error "The Secret, or a configuration file in it, is invalid."
    SECRET_WITHOUT_CONF "secret-without-conf" Error "No key of the Secret ends in .conf, so pgBackRest ignores all of them."
    SECRET_OPTION_MISSING "secret-option-missing" Error "The Secret lacks an option that a repo needs."
    SECRET_OPTION_EMPTY "secret-option-empty" Error "An option in the Secret has no value; every pgBackRest command would fail."
    SECRET_OPTION_UNUSED "secret-option-unused" Warning "An option in the Secret belongs to no repo of the cluster."
    SECRET_FILE_MISSING "secret-file-missing" Error "A file that a repo needs, such as a key file, is not in the Secret."
    CIPHER_TYPE_MISSING "cipher-type-missing" Error "A repo has a passphrase but no cipher type: its backups would not be encrypted."
    CIPHER_PASS_MISSING "cipher-pass-missing" Error "A repo has a cipher type but no passphrase."

    OPTION_UNKNOWN "option-unknown" Warning "pgBackRest up to 2.60 does not have this option and would ignore it."
    OPTION_IGNORED "option-ignored" Warning "pgBackRest, or the version that is used, ignores this option in a `[global]` section."
    OPTION_EMPTY "option-empty" Error "An option has no value; every pgBackRest command would fail."
    OPTION_VALUE_INVALID "option-value-invalid" Error "pgBackRest would reject the value of an option."
    OPTION_MALFORMED "option-malformed" Error "The name or value of an option is not valid in a configuration file."
    OPTION_TWICE "option-twice" Error "An option is given twice, under two names or in two places; every pgBackRest command would fail."
    OPTION_WITHOUT_REPO "option-without-repo" Warning "An option is for a repo that the cluster does not have; it is ignored."
    OPTION_NOT_ALLOWED "option-not-allowed" Error "An option cannot be set for single backups."
    OPTION_CONTRADICTS "option-contradicts" Error "An option contradicts another part of the resource."
    OPTION_LEFT_OUT "option-left-out" Warning "An option would fail in a container, and is left out there."
    VERSION_TOO_OLD "version-too-old" Error "The version of pgBackRest in a container would reject a setting."
    VERSION_NOT_CHECKED "version-not-checked" NotChecked "A setting needs a certain version of pgBackRest, and the version in use is not known."
    OPTION_OVERRIDES "option-overrides" Warning "An option overrides a generated one that the setup depends on."
    RETENTION_UNSET "retention-unset" Warning "A repo keeps its full backups forever, until its storage is full."

    NAME_INVALID "name-invalid" Error "The name of the cluster or the restore test cannot be used in object names."
    NAME_SHORTENED "name-shortened" Info "Object names are shortened with a hash."
    NAME_TAKEN "name-taken" Warning "An object with the same name has another owner and is not touched."
    NAMES_NOT_CHECKED "names-not-checked" NotChecked "The existence of objects with the same names was not checked."

    ANNOTATION_UNKNOWN "annotation-unknown" Warning "An annotation of pgbackrest-keeper is unknown."
    ANNOTATION_INVALID "annotation-invalid" Error "An annotation has an invalid value."
    PAUSED "paused" Info "An annotation stops all writes for the cluster."
    OTHER_CONTROLLER "other-controller" Info "The resource is managed by another controller."
    SUSPENDED "suspended" Info "The cluster currently has nothing to back up: its jobs are suspended."
    RESTORE_NOT_EXECUTED "restore-not-executed" Warning "A restore is requested, but pgbackrest-keeper does not execute it."
    LABEL_RESERVED "label-reserved" Warning "A pod label is reserved for selecting pods; it is ignored."
    ENV_ELSEWHERE "env-elsewhere" Warning "An environment variable is for pgBackRest in a container that does not get it."
    ENV_TWICE "env-twice" Warning "An environment variable is given twice; the first value is used."

    OBJECT_REFUSED "object-refused" Warning "The API server rejects an object."
    OBJECT_WAITS "object-waits" Info "An object will be changed or removed later, such as after a running backup."
    REMOVAL_NOT_AUTHORIZED "removal-not-authorized" Warning "The backup section was removed; its objects are kept, with jobs suspended, until their removal is authorized."
}
