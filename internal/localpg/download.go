package localpg

import (
	"context"
	"errors"
)

func download(ctx context.Context, opts Options) (binaries, error) {
	return binaries{}, errors.New("not yet")
}
