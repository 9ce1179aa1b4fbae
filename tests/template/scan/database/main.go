// Pushes a database of vulnerabilities as Trivy fetches it: main ROWS.JSON REFERENCE.
//
// Each row names its buckets, a key and the value. https://github.com/aquasecurity/trivy-db
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"go.etcd.io/bbolt"
)

const (
	layer    = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
	metadata = `{"Version": 2, "NextUpdate": "2099-01-01T00:00:00Z", "UpdatedAt": "2026-01-01T00:00:00Z"}`
)

func main() {
	var rows [][]json.RawMessage
	check(json.Unmarshal(must(os.ReadFile(os.Args[1])), &rows))
	packed := pack(map[string][]byte{"trivy.db": database(rows), "metadata.json": []byte(metadata)})
	title := map[string]string{"org.opencontainers.image.title": "db.tar.gz"}
	image := must(mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer(packed, layer), Annotations: title}))
	check(remote.Write(must(name.ParseReference(os.Args[2])), image, remote.WithAuthFromKeychain(authn.DefaultKeychain)))
}

func database(rows [][]json.RawMessage) []byte {
	folder := must(os.MkdirTemp("", "database"))
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "trivy.db")
	db := must(bbolt.Open(file, 0o600, nil))
	check(db.Update(func(tx *bbolt.Tx) error {
		for _, row := range rows {
			bucket := must(tx.CreateBucketIfNotExists(text(row[0])))
			for _, each := range row[1 : len(row)-2] {
				bucket = must(bucket.CreateBucketIfNotExists(text(each)))
			}
			check(bucket.Put(text(row[len(row)-2]), row[len(row)-1]))
		}
		return nil
	}))
	check(db.Close())
	return must(os.ReadFile(file))
}

func pack(files map[string][]byte) []byte {
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	for name, content := range files {
		check(archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}))
		must(archive.Write(content))
	}
	check(archive.Close())
	check(zipped.Close())
	return packed.Bytes()
}

func text(value json.RawMessage) []byte {
	var found string
	check(json.Unmarshal(value, &found))
	return []byte(found)
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
