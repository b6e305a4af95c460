"""Does one thing with a store for a test: `bucket NAME yes|no` makes one, with object lock or without; `versions NAME`
tries to delete every version of every object and says, as JSON, which lock each has and whether it could be deleted."""

import json
import sys

import boto3
import botocore.exceptions

_, endpoint, action, bucket, *rest = sys.argv
store = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="backstay",
    aws_secret_access_key="any",
)

if action == "bucket":
    store.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=rest == ["yes"])
else:
    found = []
    listed = store.list_object_versions(Bucket=bucket)
    for version in listed.get("Versions", []):
        names = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        head = store.head_object(**names)
        try:
            store.delete_object(**names)
            deleted = True
        except botocore.exceptions.ClientError as refusal:
            deleted = False
        until = head.get("ObjectLockRetainUntilDate")
        found.append(
            {
                "key": version["Key"],
                "size": version["Size"],
                "isLatest": version["IsLatest"],
                "mode": head.get("ObjectLockMode"),
                "until": until.strftime("%Y-%m-%dT%H:%M:%SZ") if until else None,
                "deleted": deleted,
            }
        )
    print(json.dumps(found))
