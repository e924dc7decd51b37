// Command s3gateway is versitygw's S3 server over a folder, without its other stores and ways to log in.
//
//	s3gateway PORT BUCKETS ABOUT    with the keys in S3_ACCESS_KEY and S3_SECRET_KEY, on loopback
package main

import (
	"log"
	"os"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: s3gateway PORT BUCKETS ABOUT")
	}
	about, err := meta.NewSideCar(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	store, err := posix.New(os.Args[2], about, posix.PosixOpts{SideCarDir: os.Args[3], NewDirPerm: 0o755, Concurrency: 100})
	if err != nil {
		log.Fatal(err)
	}
	keys := middlewares.RootUserConfig{Access: os.Getenv("S3_ACCESS_KEY"), Secret: os.Getenv("S3_SECRET_KEY")}
	users := auth.NewIAMServiceSingle(auth.Account{Access: keys.Access, Secret: keys.Secret, Role: auth.RoleAdmin})
	server, err := s3api.New(store, keys, "us-east-1", users, nil, nil, nil, nil, s3api.WithQuiet(), s3api.WithConcurrencyLimiter(1000, 1000), s3api.WithMpMaxParts(10000))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.ServeMultiPort([]string{"127.0.0.1:" + os.Args[1]}))
}
