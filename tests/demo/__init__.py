"""The demo: a two-job workflow played through aliases on local disk, SFTP and S3, with real curl processes."""
