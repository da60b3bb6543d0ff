//! Signed notes and log checkpoints (C2SP signed-note, tlog-checkpoint).
