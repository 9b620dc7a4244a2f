package sigmaclient_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func TestAMeterMeasuresTheCallsOfItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small(), func(o *sigmaclient.Options) { o.InFlight = 3 })
		client := s.client(t)
		if got := client.Places(); got != 3 {
			t.Errorf("it has %d places", got)
		}
		s.SetFaults(sigmatest.On(whoami, sigmatest.Delay(time.Second)))
		meter := &sigmaclient.Meter{}
		if err := whoAmI(t.Context(), client); err != nil { // another's
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 6 { // in two rounds
			group.Go(func() {
				if err := whoAmI(sigmaclient.WithMeter(t.Context(), meter), client); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if meter.Calls() != 6 || meter.UnderWay() != 6*time.Second || meter.Throttled() != 0 {
			t.Errorf("%d calls took %v, and %v of throttling", meter.Calls(), meter.UnderWay(), meter.Throttled())
		}
		s.SetFaults(sigmatest.On(whoami, sigmatest.Times(1, sigmatest.Throttle("7"))))
		if err := whoAmI(sigmaclient.WithMeter(t.Context(), meter), client); err != nil {
			t.Fatal(err)
		}
		if meter.Calls() != 8 || meter.UnderWay() != 6*time.Second || meter.Throttled() != 7*time.Second {
			t.Errorf("%d calls took %v, and %v of throttling", meter.Calls(), meter.UnderWay(), meter.Throttled())
		}
	})
}
