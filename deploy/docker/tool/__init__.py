"""What runs inside the tool image (deploy/docker/tool.Dockerfile): standard library only, one file per task."""
